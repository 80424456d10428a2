package git

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/crypto/ssh"
)

// Keys are the public keys that are trusted to sign. They are safe for
// concurrent use.
type Keys struct {
	pgp openpgp.EntityList // one for each primary key
	ssh []sshKey
	// revoked are what Revoke was given.
	revoked []ssh.PublicKey
}

// ParseKeys reads public keys. Each file holds any number of
//
//   - armored OpenPGP public keys, one after the other;
//   - lines as in OpenSSH's authorized_keys, without options: type, key and
//     comment;
//   - lines as in OpenSSH's allowed_signers: principals, options, type and key.
//     The principals are patterns with * and ?, separated by commas; one that
//     begins with ! excludes. The options are cert-authority, namespaces,
//     valid-after and valid-before. A time is YYYYMMDD, YYYYMMDDHHMM or
//     YYYYMMDDHHMMSS; all are UTC, also those without a Z at the end, which
//     OpenSSH takes as local time.
//
// A key with cert-authority is trusted to certify other keys, not to sign: the
// certificate must be of a user, hold a principal that the line allows, and be
// valid at the time that the signed object states. A key without it is not
// trusted to certify.
//
// A key may be there more than once. Copies of an OpenPGP key are put together:
// what the newest says of its expiry counts, and so does every revocation. A
// line of an SSH key allows what it says, whatever the other lines say.
//
// Empty lines and lines that begin with # are skipped. Anything else is an
// error ([ErrInvalidKeys]), and so is a file without a key: nothing that
// someone wrote down to restrict trust is ignored. A file is at most 1 MiB.
func ParseKeys(files ...[]byte) (*Keys, error) {
	const largest = 1 << 20
	keys := &Keys{}
	for i, data := range files {
		before := keys.count()
		err := errors.New("larger than 1 MiB")
		if len(data) <= largest {
			err = keys.parse(string(data))
		}
		if err == nil && keys.count() == before {
			err = errors.New("it holds no public key")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: key file %d of %d: %w", ErrInvalidKeys, i+1, len(files), err)
		}
	}
	if keys.empty() {
		return nil, fmt.Errorf("%w: no key files", ErrInvalidKeys)
	}
	keys.pgp = mergeOpenPGP(keys.pgp)
	return keys, nil
}

// Revoke returns keys that trust what these do, but for the SSH keys in some
// files: lines of type, key and comment, as Git reads them from its
// gpg.ssh.revocationFile. A certificate is refused if its key or the authority
// that made it is revoked. The binary lists of OpenSSH (KRL) are an error
// ([ErrInvalidKeys]). An OpenPGP key is revoked in the key itself.
func (k *Keys) Revoke(files ...[]byte) (*Keys, error) {
	if k.empty() {
		return nil, fmt.Errorf("%w: there are no keys to revoke; read them with ParseKeys", ErrInvalidKeys)
	}
	list := &Keys{}
	if len(files) > 0 {
		var err error
		if list, err = ParseKeys(files...); err != nil {
			return nil, fmt.Errorf("revocations: %w", err)
		}
	}
	rest := &Keys{pgp: k.pgp, ssh: k.ssh, revoked: slices.Clone(k.revoked)}
	for _, line := range list.ssh {
		if line.principals != nil {
			return nil, fmt.Errorf("%w: revocations: a line is \"type key comment\", without principals", ErrInvalidKeys)
		}
		rest.revoked = append(rest.revoked, line.key)
	}
	if list.pgp != nil {
		return nil, fmt.Errorf("%w: revocations: an OpenPGP key; give the key with its revocation to ParseKeys", ErrInvalidKeys)
	}
	return rest, nil
}

func (k *Keys) count() int  { return len(k.pgp) + len(k.ssh) }
func (k *Keys) empty() bool { return k == nil || k.count() == 0 }

// Fingerprints returns the fingerprints of all keys and authorities, sorted, in
// the form of [Signature.Fingerprint].
func (k *Keys) Fingerprints() []string {
	var all []string
	for _, e := range k.pgp {
		all = append(all, fmt.Sprintf("%X", e.PrimaryKey.Fingerprint))
	}
	for _, key := range k.ssh {
		all = append(all, ssh.FingerprintSHA256(key.key))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Digest stands for what is trusted: "sha256:" and 64 hexadecimal digits. It
// differs when a key, its expiry, a revocation, a principal or an option does,
// so that what was verified with keys of another digest is verified again. The
// order of files and keys, copies and comments make no difference.
func (k *Keys) Digest() string {
	var facts []string
	if k != nil {
		for _, e := range k.pgp {
			facts = append(facts, openPGPFacts(e)...)
		}
		for _, key := range k.ssh {
			facts = append(facts, key.fact())
		}
		for _, key := range k.revoked {
			facts = append(facts, fmt.Sprintf("revoked %x", key.Marshal()))
		}
	}
	slices.Sort(facts)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(facts), "\n")))
	return fmt.Sprintf("sha256:%x", sum)
}

func (k *Keys) parse(text string) error {
	const begin, end = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
	block := []string(nil)
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case line == begin && block == nil:
			block = []string{line}
		case block != nil:
			block = append(block, line)
			if line != end {
				continue
			}
			if err := k.addOpenPGP(strings.Join(block, "\n")); err != nil {
				return fmt.Errorf("the OpenPGP key that ends in line %d: %s", n, clip(err.Error()))
			}
			block = nil
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "-----BEGIN ") && strings.Contains(line, "PRIVATE"):
			return fmt.Errorf("line %d: a private key; give the public one", n)
		default:
			key, err := parseSSHKey(line)
			if err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
			k.ssh = append(k.ssh, key)
		}
	}
	if block != nil {
		return errors.New("an OpenPGP key without an end")
	}
	return nil
}
