-- The whole database of version 1, as migrate.rs makes it new. Times are Unix milliseconds. XML is kept as text.
-- Whatever belongs to an account hangs on its number and goes with it (ON DELETE CASCADE).

CREATE TABLE meta (                          -- what the server itself remembers: secrets, marks
    key             TEXT PRIMARY KEY,
    value           BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE blocked_domain (                -- blocked while the server ran, not by jabber.xml
    domain          TEXT PRIMARY KEY,
    subdomains      INTEGER NOT NULL,
    bounce          INTEGER NOT NULL,
    since           INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE account (
    id              INTEGER PRIMARY KEY,
    host            TEXT NOT NULL,
    localpart       TEXT NOT NULL,
    created         INTEGER NOT NULL,
    disabled        INTEGER NOT NULL DEFAULT 0,
    hashes          INTEGER NOT NULL DEFAULT 0, -- which keys it has in scram: 1 SHA-1, 2 SHA-256, 4 SHA-512, added up
    UNIQUE (host, localpart)
);
CREATE INDEX account_by_hashes ON account (host, hashes);

CREATE TABLE account_removed (               -- names that were accounts, so that nobody inherits one too soon
    host            TEXT NOT NULL,
    localpart       TEXT NOT NULL,
    removed         INTEGER NOT NULL,
    PRIMARY KEY (host, localpart)
) WITHOUT ROWID;

CREATE TABLE account_reserved (              -- names of accounts whose old files could not be read: theirs, once mended
    host            TEXT NOT NULL,
    localpart       TEXT NOT NULL,
    PRIMARY KEY (host, localpart)
) WITHOUT ROWID;

CREATE TABLE scram (                         -- RFC 5802 §3: enough to check a password, not to know it
    account         INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    hash            INTEGER NOT NULL,        -- bits of the hash: 1 for SHA-1, 256, 512
    iterations      INTEGER NOT NULL,
    salt            BLOB NOT NULL,
    stored_key      BLOB NOT NULL,
    server_key      BLOB NOT NULL,
    PRIMARY KEY (account, hash)
) WITHOUT ROWID;

CREATE TABLE legacy_hash (                   -- an imported password hash, until the first plain login replaces it
    account         INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    kind            TEXT NOT NULL,
    value           TEXT NOT NULL
);

CREATE TABLE plain_password (                -- an imported password as text, for XEP-0078's digest, where jabber.xml wants it
    account         INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    password        TEXT NOT NULL,
    since           INTEGER NOT NULL
);
CREATE INDEX plain_password_by_time ON plain_password (since);

CREATE TABLE imported (                      -- what an importer brought and no room reads yet, as it was
    account         INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    ns              TEXT NOT NULL,
    xml             TEXT NOT NULL,
    PRIMARY KEY (account, ns)
);

CREATE TABLE imported_file (                 -- files that an importer is done with, so that none is imported twice
    path            TEXT PRIMARY KEY,
    modified        INTEGER NOT NULL,
    bytes           INTEGER NOT NULL,
    is_left         INTEGER NOT NULL         -- 1: it could not be read, or its host is not served
) WITHOUT ROWID;

CREATE TABLE setting (                       -- set by the admin while the server ran; goes over jabber.xml
    host            TEXT NOT NULL,
    name            TEXT NOT NULL,
    value           TEXT NOT NULL,
    PRIMARY KEY (host, name)
) WITHOUT ROWID;

CREATE TABLE invite (                        -- XEP-0401, XEP-0445: of a token only its SHA-256 is kept
    id              TEXT PRIMARY KEY,        -- the first half of the hash: what people call it
    hash            BLOB NOT NULL,
    host            TEXT NOT NULL,           -- where an account may be made
    account         INTEGER REFERENCES account ON DELETE CASCADE, -- whose it is; NULL for the server's own
    localpart       TEXT NOT NULL,           -- the name that the new account must have, or ''
    registers       INTEGER NOT NULL,
    befriends       INTEGER NOT NULL,
    for_contact     INTEGER NOT NULL,        -- good for who has an account elsewhere (XEP-0379)
    by_server       INTEGER NOT NULL,        -- made by jabberctl: good where registration is closed
    created         INTEGER NOT NULL,
    expires         INTEGER NOT NULL,
    uses            INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX invite_by_name ON invite (host, localpart);
CREATE INDEX invite_by_account ON invite (account);
CREATE INDEX invite_by_time ON invite (host, registers, expires);

CREATE TABLE invited (                       -- by whose invitation an account was made
    account         INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    inviter         TEXT NOT NULL
);

CREATE TABLE registration (                  -- XEP-0077: the fields a user filled in
    account         INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    xml             TEXT NOT NULL
);

CREATE TABLE last_activity (                 -- XEP-0012
    account         INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    left_at         INTEGER NOT NULL,
    status          TEXT NOT NULL
);

CREATE TABLE visit (                         -- for admins: with any session, shown to contacts or not
    account         INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    came_at         INTEGER NOT NULL,        -- the last login
    seen_at         INTEGER NOT NULL
);

CREATE TABLE vcard (                         -- XEP-0054
    account         INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    xml             TEXT NOT NULL
);

CREATE TABLE directory (                     -- XEP-0055: what may be found of an account
    account         INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    state           INTEGER NOT NULL,        -- 0 as its vCard says, 1 as it registered, 2 it wants to be in no directory
    first           TEXT NOT NULL,
    last            TEXT NOT NULL,
    nick            TEXT NOT NULL,
    email           TEXT NOT NULL,
    words           TEXT NOT NULL            -- all words below in one text, each behind U+001F and its field
);

CREATE TABLE directory_word (                -- folded; a host's words of a field lie side by side, so that a beginning finds them
    host            TEXT NOT NULL,
    field           TEXT NOT NULL,
    word            TEXT NOT NULL,
    account         INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    PRIMARY KEY (host, field, word, account)
) WITHOUT ROWID;
CREATE INDEX directory_word_by_account ON directory_word (account);

CREATE TABLE private (                       -- XEP-0049
    account         INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    ns              TEXT NOT NULL,
    name            TEXT NOT NULL,
    bytes           INTEGER NOT NULL,
    xml             TEXT NOT NULL,
    UNIQUE (account, ns, name)
);

CREATE TABLE privacy_list (                  -- XEP-0016; the default list is the block list of XEP-0191 as well
    account         INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    name            TEXT NOT NULL,
    is_default      INTEGER NOT NULL,
    xml             TEXT NOT NULL,
    UNIQUE (account, name)
);

CREATE TABLE filter (                        -- jabberd 1.4's rules for messages
    account         INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    xml             TEXT NOT NULL
);

CREATE TABLE roster (                        -- RFC 6121 §2.6: since(v) can be told for floor <= v <= version
    account         INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    version         INTEGER NOT NULL,
    floor           INTEGER NOT NULL
);

CREATE TABLE roster_item (
    account         INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    jid             TEXT NOT NULL,
    version         INTEGER NOT NULL,        -- of the roster, when the item last changed
    subscription    INTEGER NOT NULL,        -- 0 none, 1 to, 2 from, 3 both
    ask             INTEGER NOT NULL,
    approved        INTEGER NOT NULL,
    visible         INTEGER NOT NULL,
    name            TEXT NOT NULL,
    groups          TEXT NOT NULL,           -- separated by U+001F, which XML cannot hold
    pending_in      TEXT,                    -- the presence stanza that asked
    PRIMARY KEY (account, jid)
) WITHOUT ROWID;

CREATE TABLE roster_removed (                -- the newest removals, for clients that were away
    account         INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    version         INTEGER NOT NULL,
    jid             TEXT NOT NULL,
    PRIMARY KEY (account, version)
) WITHOUT ROWID;

-- Messages of all accounts in one long row: storing one touches the page at the end, not a page per account.
-- AUTOINCREMENT: a number never comes back, so "delete all up to n" can never hit a message that came later.
CREATE TABLE offline (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    account         INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    received        INTEGER NOT NULL,
    bytes           INTEGER NOT NULL,
    stanza          TEXT NOT NULL
);
CREATE INDEX offline_by_account ON offline (account);

CREATE TABLE offline_total (                 -- kept by the triggers: a bound is checked without counting
    account         INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    messages        INTEGER NOT NULL,
    bytes           INTEGER NOT NULL
);
CREATE TRIGGER offline_added AFTER INSERT ON offline BEGIN
    INSERT INTO offline_total VALUES (new.account, 1, new.bytes)
        ON CONFLICT (account) DO UPDATE SET messages = messages + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER offline_taken AFTER DELETE ON offline BEGIN
    UPDATE offline_total SET messages = messages - 1, bytes = bytes - old.bytes WHERE account = old.account;
END;

CREATE TABLE motd (                          -- the message of the day of each host
    host            TEXT PRIMARY KEY,
    number          INTEGER NOT NULL,        -- grows with each new message
    set_at          INTEGER NOT NULL,
    stanza          TEXT                     -- without addresses; none: it was taken away
) WITHOUT ROWID;

CREATE TABLE motd_seen (                     -- who has had which
    account         INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    number          INTEGER NOT NULL
);

CREATE TABLE component_data (                -- what components keep here for their own users
    id              INTEGER PRIMARY KEY,
    host            TEXT NOT NULL,
    localpart       TEXT NOT NULL,
    ns              TEXT NOT NULL,
    is_list         INTEGER NOT NULL,        -- its children are rows of their own
    bytes           INTEGER NOT NULL,
    xml             TEXT NOT NULL,
    UNIQUE (host, localpart, ns)
);

CREATE TABLE component_data_item (           -- a child of a list; a component changes lists child by child
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    list            INTEGER NOT NULL REFERENCES component_data ON DELETE CASCADE,
    host            TEXT NOT NULL,
    name            TEXT NOT NULL,
    bytes           INTEGER NOT NULL,
    xml             TEXT NOT NULL
);
CREATE INDEX component_data_item_by_list ON component_data_item (list);

CREATE TABLE component_data_attribute (      -- an item's attributes, by which it is found
    list            INTEGER NOT NULL,
    name            TEXT NOT NULL,
    value           TEXT NOT NULL,
    item            INTEGER NOT NULL REFERENCES component_data_item ON DELETE CASCADE,
    PRIMARY KEY (list, name, value, item)
) WITHOUT ROWID;
CREATE INDEX component_data_attribute_by_item ON component_data_attribute (item);

CREATE TABLE component_data_total (          -- kept by the triggers
    host            TEXT PRIMARY KEY,
    bytes           INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER component_data_added AFTER INSERT ON component_data BEGIN
    INSERT INTO component_data_total VALUES (new.host, new.bytes)
        ON CONFLICT (host) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER component_data_taken AFTER DELETE ON component_data BEGIN
    UPDATE component_data_total SET bytes = bytes - old.bytes WHERE host = old.host;
END;
CREATE TRIGGER component_data_item_added AFTER INSERT ON component_data_item BEGIN
    INSERT INTO component_data_total VALUES (new.host, new.bytes)
        ON CONFLICT (host) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER component_data_item_taken AFTER DELETE ON component_data_item BEGIN
    UPDATE component_data_total SET bytes = bytes - old.bytes WHERE host = old.host;
END;

CREATE TABLE remote_queue (                  -- what waits for another server or a component, or is not acknowledged by it
    id              INTEGER PRIMARY KEY,     -- given by the router: never the same twice in one life of the server
    received        INTEGER NOT NULL,
    stanza          TEXT NOT NULL
);
