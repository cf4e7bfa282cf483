# A client of 2005 looks for services: Net::Jabber asks for agents, browses, and asks who is there, as its menus did.
#   perl old_services.pl HOST PORT NAME PASSWORD
# The account must exist. Each thing that it understood is told in one line.
use strict;
use warnings;
use Net::Jabber qw(Client);

my ($host, $port, $name, $password) = @ARGV;
$| = 1;

my $client = Net::Jabber::Client->new();
$client->Connect(
    hostname => '127.0.0.1', port => $port, componentname => $host, connectiontype => 'tcpip',
    ssl => 1, ssl_verify => 0, timeout => 10,
) or die "no connection\n";
my @authenticated = $client->AuthIQAuth(username => $name, password => $password, resource => 'perl');
print "authenticated $authenticated[0]\n";
$client->PresenceSend();

for my $to ($host, undef) {
    my %agents = $client->AgentsGet($to ? (to => $to) : ());
    for my $jid (sort { $agents{$a}->{order} <=> $agents{$b}->{order} } keys %agents) {
        my $agent = $agents{$jid};
        my @can = grep { $agent->{$_} } qw(register search groupchat);
        print "agent $jid $agent->{service} @can: $agent->{name}\n";
    }
}

for my $jid ($host, "$name\@$host") {
    my %browse = $client->BrowseRequest(jid => $jid);
    print "browse $browse{category} $browse{type} $browse{jid}\n";
    for my $item (@{ $browse{children} || [] }) {
        print "item $item->{category} $item->{type} $item->{jid} @{ $item->{ns} }\n";
    }
}
$client->Disconnect();
print "left\n";
