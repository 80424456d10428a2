package git

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/crypto/ssh"
)

// Keys are the public keys that are trusted to sign. They are safe for
// concurrent use.
type Keys struct {
	pgp openpgp.EntityList
	ssh []sshKey
}

// sshKey is a line of an authorized_keys or allowed_signers file.
type sshKey struct {
	key    ssh.PublicKey
	signer string // principals, or the comment
	// namespaces that it may sign for; nil: all.
	namespaces    []string
	after, before time.Time // zero: no bound
}

// ParseKeys reads public keys. Each file holds any number of
//
//   - armored OpenPGP public keys, one after the other;
//   - lines as in OpenSSH's authorized_keys, without options: type, key and
//     comment;
//   - lines as in OpenSSH's allowed_signers: principals, options, type and key.
//     Of the options, namespaces, valid-after and valid-before are understood;
//     a time without a Z at its end is taken as UTC.
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
	return keys, nil
}

func (k *Keys) count() int  { return len(k.pgp) + len(k.ssh) }
func (k *Keys) empty() bool { return k == nil || k.count() == 0 }

// Fingerprints returns the fingerprints of all keys, sorted, in the form of
// [Signature.Fingerprint].
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

// addOpenPGP adds one armored block. (A reader of more than one would stop
// after the first.)
func (k *Keys) addOpenPGP(block string) error {
	list, err := openpgp.ReadArmoredKeyRing(strings.NewReader(block))
	if err != nil {
		return err
	}
	k.pgp = append(k.pgp, list...)
	return nil
}

// parseSSHKey reads a line of an authorized_keys or an allowed_signers file.
// What tells them apart is whether the type of the key comes first.
func parseSSHKey(line string) (sshKey, error) {
	fields, err := splitFields(line)
	if err != nil {
		return sshKey{}, err
	}
	if isKeyType(fields[0]) {
		key, comment, err := decodeSSHKey(fields)
		return sshKey{key: key, signer: comment}, err
	}
	k := sshKey{signer: strings.Trim(fields[0], `"`)}
	fields = fields[1:]
	if k.signer == "" || strings.ContainsAny(k.signer, `="`) || k.signer == "cert-authority" {
		return sshKey{}, errors.New("neither \"type key comment\", without options, nor \"principals options type key\"")
	}
	if len(fields) > 0 && !isKeyType(fields[0]) {
		if err := k.parseOptions(fields[0]); err != nil {
			return sshKey{}, err
		}
		fields = fields[1:]
	}
	k.key, _, err = decodeSSHKey(fields)
	return k, err
}

// isKeyType says whether a field looks like the type of a key.
func isKeyType(s string) bool {
	return strings.HasPrefix(s, "ssh-") || strings.HasPrefix(s, "ecdsa-sha2-") || strings.HasPrefix(s, "sk-")
}

// decodeSSHKey reads type, key and comment.
func decodeSSHKey(fields []string) (ssh.PublicKey, string, error) {
	if len(fields) < 2 || !isKeyType(fields[0]) {
		return nil, "", errors.New("neither an armored OpenPGP public key nor an SSH public key of a known type")
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil {
		return nil, "", errors.New("the SSH key is not in base64")
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return nil, "", errors.New("the SSH key is malformed, or of an unsupported type")
	}
	if _, isCert := key.(*ssh.Certificate); isCert || key.Type() != fields[0] || !supportedSSHKey(key) {
		return nil, "", fmt.Errorf("an SSH key of type %q is not supported for signatures", clip(fields[0]))
	}
	return key, strings.Join(fields[2:], " "), nil
}

// parseOptions reads the options of an allowed signer. One that is not
// understood is an error: it may be a restriction.
func (k *sshKey) parseOptions(text string) error {
	for _, option := range splitOutside(text, ',') {
		name, value, has := strings.Cut(option, "=")
		value = strings.Trim(value, `"`)
		var err error
		switch name = strings.ToLower(name); {
		case name == "namespaces" && has:
			k.namespaces = strings.Split(value, ",")
		case name == "valid-after" && has:
			k.after, err = parseSSHTime(value)
		case name == "valid-before" && has:
			k.before, err = parseSSHTime(value)
		default:
			return fmt.Errorf("option %q is not supported; namespaces, valid-after and valid-before are", clip(name))
		}
		if err != nil {
			return fmt.Errorf("option %s: %w", name, err)
		}
	}
	return nil
}

func parseSSHTime(s string) (time.Time, error) {
	digits := strings.TrimSuffix(strings.ToUpper(s), "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) == len(layout) {
			if t, err := time.Parse(layout, digits); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 20260131 or 20260131235959Z", clip(s))
}

// allows says whether the key may sign in a namespace.
func (k sshKey) allows(namespace string) bool {
	if k.namespaces == nil {
		return true
	}
	for _, pattern := range k.namespaces {
		if ok, err := path.Match(strings.TrimSpace(pattern), namespace); ok && err == nil {
			return true
		}
	}
	return false
}

// splitFields splits a line at blanks outside of quotes.
func splitFields(line string) ([]string, error) {
	if strings.Count(line, `"`)%2 != 0 {
		return nil, errors.New("a quote is left open")
	}
	fields := splitOutside(strings.ReplaceAll(line, "\t", " "), ' ')
	return slices.DeleteFunc(fields, func(f string) bool { return f == "" }), nil
}

// splitOutside splits at a separator outside of quotes.
func splitOutside(s string, separator byte) []string {
	var parts []string
	quoted, from := false, 0
	for i := range len(s) {
		switch s[i] {
		case '"':
			quoted = !quoted
		case separator:
			if !quoted {
				parts = append(parts, s[from:i])
				from = i + 1
			}
		}
	}
	return append(parts, s[from:])
}
