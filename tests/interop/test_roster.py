"""Rosters, subscriptions and presence (RFC 6121 §2 to §4)."""

import os

import pytest
from slixmpp.exceptions import IqError


async def befriend(one, two):
    """Both see each other's presence afterwards; all that this brings is taken out of both inboxes."""
    for asking, asked in ((one, two), (two, one)):
        asking.send_presence(pto=asked.boundjid.bare, ptype="subscribe")
        await asked.presence("subscribe", asking.boundjid.bare)
        asked.send_presence(pto=asking.boundjid.bare, ptype="subscribed")
        await asking.presence("subscribed", asked.boundjid.bare)
    # The last of each session's own presence that the approvals caused.
    await one.settle()
    await two.settle()
    await one.settle()
    one.inbox.clear()
    two.inbox.clear()


async def sees_leave(watcher, who):
    """RFC 6121 §3.3.3: unavailable from each resource; Compat: Prosody says it once, from the bare address."""
    reference = os.environ.get("SERVER") == "prosody"
    await watcher.presence("unavailable", who.bare if reference else who.full)


async def test_roster_is_empty_at_first(clients, account):
    client = await clients.bind(account())
    assert await client.roster_items() == {}


async def test_add_change_and_remove_an_item(clients, account):
    """RFC 6121 §2.3 to §2.5; every change is pushed to each session that asked for the roster."""
    user = account()
    home, work = await clients.login(user, "home"), await clients.login(user, "work")
    bystander = await clients.bind(user, "no-roster")
    await home.update_roster("nurse@example.org", name="Nurse", groups=["Servants", "Friends"])
    for client in (home, work):
        item = await client.push("nurse@example.org")
        assert item["name"] == "Nurse"
        assert item["groups"] == ["Friends", "Servants"]
        assert item["subscription"] == "none"
    await home.update_roster("nurse@example.org", name="The Nurse", groups=["Friends"])
    for client in (home, work):
        item = await client.push("nurse@example.org")
        assert (item["name"], item["groups"]) == ("The Nurse", ["Friends"])
    assert await work.roster_items() == {
        "nurse@example.org": {
            "jid": "nurse@example.org",
            "name": "The Nurse",
            "subscription": "none",
            "groups": ["Friends"],
        }
    }
    await home.del_roster_item("nurse@example.org")
    for client in (home, work):
        assert (await client.push("nurse@example.org"))["subscription"] == "remove"
    assert await work.roster_items() == {}
    await bystander.settle()
    assert bystander.inbox == []


async def test_roster_outlives_the_session(clients, account):
    user = account()
    client = await clients.login(user)
    await client.update_roster("nurse@example.org", name="N", groups=["G"])
    await client.leave()
    client = await clients.bind(user)
    assert (await client.roster_items())["nurse@example.org"]["groups"] == ["G"]


@pytest.mark.parametrize(
    "query, expected",
    [
        ("<item jid='nurse@example.org' subscription='remove'/>", {"item-not-found"}),
        ("<item/>", {"bad-request"}),
        ("<item jid='@'/>", {"bad-request", "jid-malformed"}),
        ("<item jid='a@example.org'/><item jid='b@example.org'/>", {"bad-request"}),
        ("", {"bad-request"}),
        ("<item jid='a@example.org'><group>x</group><group>x</group></item>", {"bad-request"}),
        ("<item jid='a@example.org'><group/></item>", {"not-acceptable"}),
    ],
    ids=("remove nobody", "no address", "no such address", "two items", "no item", "same group", "empty group"),
)
async def test_bad_roster_sets(clients, account, query, expected):
    """RFC 6121 §2.3.3 and §2.5.3."""
    if os.environ.get("SERVER") == "prosody" and "group" in query:
        pytest.skip("the reference takes any groups")
    client = await clients.login(account())
    with pytest.raises(IqError) as error:
        await client.ask(None, f"<query xmlns='jabber:iq:roster'>{query}</query>", "set")
    assert error.value.condition in expected


async def test_subscription_states_cannot_be_set_by_hand(clients, account):
    """RFC 6121 §2.3.2: the server passes over `subscription` other than remove, and `ask`."""
    client = await clients.login(account())
    item = "<item jid='a@example.org' subscription='both' ask='subscribe'/>"
    try:
        await client.ask(None, f"<query xmlns='jabber:iq:roster'>{item}</query>", "set")
    except IqError:
        pass
    item = (await client.roster_items()).get("a@example.org", {"subscription": "none"})
    assert item["subscription"] == "none" and "ask" not in item


async def test_rosters_of_others_are_closed(clients, account):
    """RFC 6121 §2.1.3, §2.3.3."""
    user, other = account(), account()
    client = await clients.login(user)
    iq = client.make_iq_get("jabber:iq:roster", ito=other.jid)
    with pytest.raises(IqError) as error:
        await iq.send()
    assert error.value.condition in ("forbidden", "service-unavailable", "not-allowed")


async def test_a_full_round_of_subscriptions(clients, account):
    """Ask, approve, ask back, approve, cancel, unsubscribe: RFC 6121 §3.1 to §3.3, pushes and presence included."""
    romeo, juliet = (
        await clients.login(account("romeo"), "orchard"),
        await clients.login(account("juliet"), "balcony"),
    )
    r, j = romeo.boundjid, juliet.boundjid

    romeo.send_presence(pto=j.bare, ptype="subscribe")
    item = await romeo.push(j.bare)
    assert (item["subscription"], item.get("ask")) == ("none", "subscribe")
    await juliet.presence("subscribe", r.bare)
    # Not in her roster before she answers (RFC 6121 §3.1.3).
    assert r.bare not in await juliet.roster_items()

    juliet.send_presence(pto=r.bare, ptype="subscribed")
    assert (await juliet.push(r.bare))["subscription"] == "from"
    item = await romeo.push(j.bare)
    assert (item["subscription"], item.get("ask")) == ("to", None)
    await romeo.presence("subscribed", j.bare)
    await romeo.presence(None, j.full)

    juliet.send_presence(pto=r.bare, ptype="subscribe")
    assert (await juliet.push(r.bare)).get("ask") == "subscribe"
    await romeo.presence("subscribe", j.bare)
    romeo.send_presence(pto=j.bare, ptype="subscribed")
    assert (await romeo.push(j.bare))["subscription"] == "both"
    assert (await juliet.push(r.bare))["subscription"] == "both"
    await juliet.presence("subscribed", r.bare)
    await juliet.presence(None, r.full)

    # She takes her approval back: he sees her leave.
    juliet.send_presence(pto=r.bare, ptype="unsubscribed")
    assert (await juliet.push(r.bare))["subscription"] == "to"
    assert (await romeo.push(j.bare))["subscription"] == "from"
    await sees_leave(romeo, j)
    await romeo.presence("unsubscribed", j.bare)

    # And then no longer wants to see him either.
    juliet.send_presence(pto=r.bare, ptype="unsubscribe")
    assert (await juliet.push(r.bare))["subscription"] == "none"
    assert (await romeo.push(j.bare))["subscription"] == "none"
    await romeo.presence("unsubscribe", j.bare)
    await sees_leave(juliet, r)

    for one in (romeo, juliet):
        await one.settle()
    assert (await romeo.roster_items())[j.bare]["subscription"] == "none"
    assert (await juliet.roster_items())[r.bare]["subscription"] == "none"


async def test_a_request_waits_for_its_contact(clients, account):
    """RFC 6121 §3.1.3: it is shown at each login until it is answered, with what was said in it."""
    user, contact = account(), account()
    client = await clients.login(user)
    client.send_presence(pto=contact.jid, ptype="subscribe", pstatus="It is me")
    await client.settle()
    for _ in range(2):
        friend = await clients.login(contact)
        assert (await friend.presence("subscribe", user.jid))["status"] == "It is me"
        await friend.leave()
    friend = await clients.login(contact)
    await friend.presence("subscribe", user.jid)
    friend.send_presence(pto=user.jid, ptype="subscribed")
    await client.presence("subscribed", contact.jid)
    await friend.leave()
    friend = await clients.login(contact)
    await friend.settle()
    assert ("subscribe", user.jid) not in friend.presences()


async def test_a_request_can_be_denied(clients, account):
    client, friend = await clients.login(account()), await clients.login(account())
    client.send_presence(pto=friend.boundjid.bare, ptype="subscribe")
    await client.push(friend.boundjid.bare)
    await friend.presence("subscribe")
    friend.send_presence(pto=client.boundjid.bare, ptype="unsubscribed")
    await client.presence("unsubscribed", friend.boundjid.bare)
    item = await client.push(friend.boundjid.bare)
    assert (item["subscription"], item.get("ask")) == ("none", None)


async def test_an_answer_that_comes_while_away_is_found_later(clients, account):
    """RFC 6121 §3.1.6: the state in the roster is right at the next login."""
    user, contact = account(), account()
    client = await clients.login(user)
    client.send_presence(pto=contact.jid, ptype="subscribe")
    await client.leave()
    friend = await clients.login(contact)
    await friend.presence("subscribe", user.jid)
    friend.send_presence(pto=user.jid, ptype="subscribed")
    await friend.settle()
    client = await clients.login(user)
    assert (await client.roster_items())[contact.jid]["subscription"] == "to"
    await client.presence(None, friend.boundjid.full)


async def test_nothing_is_approved_that_was_not_asked(clients, account):
    """RFC 6121 §3.1.5, §3.4: at most a note for later, never a subscription."""
    client, friend = await clients.login(account()), await clients.login(account())
    friend.send_presence(pto=client.boundjid.bare, ptype="subscribed")
    await friend.settle()
    await client.settle()
    assert client.presences() == []
    assert await client.roster_items() == {}


async def test_removal_of_an_item_cancels_both_ways(clients, account):
    """RFC 6121 §2.5.2."""
    one, two = await clients.login(account()), await clients.login(account())
    await befriend(one, two)
    await one.del_roster_item(two.boundjid.bare)
    for item in (await one.push(two.boundjid.bare), await two.push(one.boundjid.bare)):
        assert item["subscription"] in ("remove", "to", "from")
    await one.settle()
    await two.settle()
    kinds = [kind for kind, source in two.presences() if source == one.boundjid.bare]
    assert sorted(kinds) == ["unsubscribe", "unsubscribed"]
    assert (await two.roster_items())[one.boundjid.bare]["subscription"] == "none"


@pytest.mark.ours("the reference says nothing of the kind")
async def test_removal_of_an_item_ends_presence_both_ways(clients, account):
    """RFC 6121 §3.2.3, §3.3.3: who may no longer see the other sees him leave."""
    one, two = await clients.login(account()), await clients.login(account())
    await befriend(one, two)
    await one.del_roster_item(two.boundjid.bare)
    await two.presence("unavailable", one.boundjid.full)
    await one.presence("unavailable", two.boundjid.full)


async def test_presence_goes_to_who_may_see_it(clients, account):
    """RFC 6121 §4.2.2, §4.4.2, §4.5.2: contacts and one's own other sessions, nobody else."""
    user, contact, stranger = account(), account(), account()
    home, friend, other = (
        await clients.login(user, "home"),
        await clients.login(contact),
        await clients.login(stranger),
    )
    await befriend(home, friend)
    work = await clients.login(user, "work", priority=5)
    for client in (home, friend):
        presence = await client.presence(None, work.boundjid.full)
        assert presence["priority"] == 5
    # The newcomer sees his other session and the contact.
    await work.presence(None, home.boundjid.full)
    await work.presence(None, friend.boundjid.full)
    home.send_presence(pshow="away", pstatus="Out", ppriority=-1)
    for client in (friend, work):
        presence = await client.presence(None, home.boundjid.full)
        assert (presence["show"], presence["status"], presence["priority"]) == ("away", "Out", -1)
    home.send_presence(ptype="unavailable", pstatus="Bye")
    for client in (friend, work):
        assert (await client.presence("unavailable", home.boundjid.full))["status"] == "Bye"
    await other.settle()
    assert other.inbox == []


async def test_a_lost_connection_makes_unavailable(clients, account):
    """RFC 6121 §4.5.2: the server says it for a client that cannot."""
    one, two = await clients.login(account()), await clients.login(account())
    await befriend(one, two)
    source = one.boundjid.full
    await one.vanish()
    await two.presence("unavailable", source)


async def test_probe_by_who_may_know(clients, account):
    """RFC 6121 §4.3.2."""
    one, two = await clients.login(account(), priority=3), await clients.login(account())
    await befriend(one, two)
    two.send_presence(pto=one.boundjid.bare, ptype="probe")
    presence = await two.presence(None, one.boundjid.full)
    assert presence["priority"] == 3
    await one.settle()
    # The probe itself is the server's business.
    assert ("probe", two.boundjid.full) not in one.presences()


async def test_probe_by_a_stranger_tells_nothing(clients, account):
    """RFC 6121 §4.3.2: unsubscribed, or silence."""
    one, stranger = await clients.login(account()), await clients.login(account())
    stranger.send_presence(pto=one.boundjid.bare, ptype="probe")
    await stranger.settle()
    assert all(kind in ("unsubscribed", "error") for kind, _ in stranger.presences())


async def test_directed_presence(clients, account):
    """RFC 6121 §4.6: to somebody who is no contact, and its end is told as well."""
    one, stranger = await clients.login(account()), await clients.login(account())
    one.send_presence(pto=stranger.boundjid.full, pstatus="Just you")
    assert (await stranger.presence(None, one.boundjid.full))["status"] == "Just you"
    # A broadcast is not for him.
    one.send_presence(pshow="dnd")
    await one.settle()
    await stranger.settle()
    assert stranger.presences() == []
    source = one.boundjid.full
    await one.leave()
    await stranger.presence("unavailable", source)


async def test_directed_unavailable_ends_directed_presence(clients, account):
    """RFC 6121 §4.6.3: said once, not again at the end of the session."""
    one, stranger = await clients.login(account()), await clients.login(account())
    one.send_presence(pto=stranger.boundjid.full)
    await stranger.presence(None, one.boundjid.full)
    one.send_presence(pto=stranger.boundjid.full, ptype="unavailable")
    await stranger.presence("unavailable", one.boundjid.full)
    await one.leave()
    await stranger.settle()
    assert stranger.presences() == []


async def test_presence_to_nobody_is_dropped(clients, account):
    """RFC 6121 §8.5.1: no error for presence to an account that is not there, so that names cannot be tried."""
    client = await clients.login(account())
    client.send_presence(pto="nobody-at-all@localhost")
    await client.settle()
    assert client.presences() == []


async def test_bad_priority(clients, account):
    """RFC 6121 §4.7.2.3: an integer from -128 to 127; out of that is a bad request or no priority."""
    client = await clients.login(account())
    client.send_raw("<presence id='p1'><priority>900</priority></presence>")
    await client.settle()
    for one in client.inbox:
        assert one.xml.get("type") == "error" or one.xml.findtext("{jabber:client}priority") in (
            None,
            "0",
            "127",
            "900",
        )
