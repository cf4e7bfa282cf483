# A client of 2005: Net::Jabber registers, logs in with jabber:iq:auth, answers one chat message, and leaves.
#   perl old_client.pl HOST PORT (ssl|tls) NAME PASSWORD
# Debian's libnet-jabber-perl brings it. Each step that worked is told in one line.
use strict;
use warnings;
use Net::Jabber qw(Client);

my ($host, $port, $way, $name, $password) = @ARGV;
$| = 1;

my $client = Net::Jabber::Client->new();
$client->Connect(
    hostname => '127.0.0.1', port => $port, componentname => $host, connectiontype => 'tcpip',
    $way => 1, ssl_verify => 0, timeout => 10,
) or die "no connection\n";
print "connected\n";

my @registered = $client->RegisterSend(to => $host, username => $name, password => $password, name => 'P', email => 'p@q');
print "registered $registered[0]\n";
my @authenticated = $client->AuthIQAuth(username => $name, password => $password, resource => 'perl');
print "authenticated $authenticated[0]\n";

my $done = 0;
$client->SetCallBacks(message => sub {
    my (undef, $message) = @_;
    return if $message->GetType() ne "chat";
    $client->MessageSend(to => $message->GetFrom(), type => 'chat', body => 'Perl heard: ' . $message->GetBody());
    $done = 1;
});
$client->RosterGet();
$client->PresenceSend(priority => 1);
print "present\n";
for (1 .. 20) {
    last if $done or not defined $client->Process(1);
}
$client->Disconnect();
print "left\n";
