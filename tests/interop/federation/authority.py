"""An authority for the tests, and the certificates of servers: good ones and bad ones."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


class Certificate:
    """A chain and its key, as files. `expired_on` is the date as an admin reads it."""

    def __init__(self, path, chain, key, expires):
        self.chain = path.with_suffix(".crt")
        self.key = path.with_suffix(".key")
        self.chain.write_bytes(b"".join(map(_pem, chain)))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        # jabberd2 wants both in one file.
        self.both = path.with_suffix(".pem")
        self.both.write_bytes(self.key.read_bytes() + self.chain.read_bytes())
        self.expired_on = expires.date().isoformat()


class Authority:
    """Signs by an intermediate, as public authorities do."""

    def __init__(self, directory, name="Test authority"):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.count = 0
        self.name = name
        root_key, root = self._make(name, None, None, True)
        self._issuer_key, self._issuer = self._make(f"{name}, intermediate", root_key, root, True)
        self.file = directory / f"{name.replace(' ', '-').lower()}.crt"
        self.file.write_bytes(_pem(root))

    def _make(self, common_name, issuer_key, issuer, is_authority, names=(), start=-DAY, end=30 * DAY, purposes=None):
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(common_name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + start)
            .not_valid_after(now + end)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n.encode("idna").decode()) for n in names]), False)
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        return key, builder.sign(issuer_key or key, hashes.SHA256())

    def _files(self, key, chain):
        self.count += 1
        return Certificate(self.directory / f"{self.count}", chain, key, chain[0].not_valid_after_utc)

    def certificate(self, *names, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,), **dates):
        """For these names. By default for servers only, as public authorities write them since 2026."""
        key, own = self._make(names[0], self._issuer_key, self._issuer, False, names, purposes=purposes, **dates)
        return self._files(key, [own, self._issuer])

    def expired(self, *names):
        return self.certificate(*names, start=-20 * DAY, end=-10 * DAY)

    def self_signed(self, *names):
        key, own = self._make(names[0], None, None, False, names)
        return self._files(key, [own])
