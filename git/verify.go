package git

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Mode says what of a snapshot must carry a good signature.
type Mode string

const (
	// ModeHead is the commit. It is what the zero value means.
	ModeHead Mode = "head"
	// ModeTag is the annotated tag that the revision's name is.
	ModeTag Mode = "tag"
	// ModeTagAndHead is both.
	ModeTagAndHead Mode = "tag-and-head"
)

// Why a signature is not accepted: the Reason of a [SignatureError].
var (
	// ErrUnsigned: there is no signature.
	ErrUnsigned = errors.New("unsigned")
	// ErrUnknownKey: the key that signed is not among those given, or may not
	// sign for Git.
	ErrUnknownKey = errors.New("signed by an unknown key")
	// ErrBadSignature: the signature does not match what it is on, or is
	// malformed.
	ErrBadSignature = errors.New("bad signature")
	// ErrExpired: the key or the signature has expired, or is not valid yet.
	ErrExpired = errors.New("expired")
	// ErrRevoked: the key was revoked.
	ErrRevoked = errors.New("key revoked")
	// ErrWeakSignature: the signature uses SHA-1 or another broken algorithm.
	ErrWeakSignature = errors.New("weak signature")
	// ErrUnsupportedSignature: a signature of a kind that is not verified, such
	// as x509.
	ErrUnsupportedSignature = errors.New("unsupported signature")
	// ErrTagName: the signature is good but on a tag of another name, which
	// someone put in the place of this one.
	ErrTagName = errors.New("the tag has another name")
)

// SignatureError says which object is not trusted, why, and what to do.
type SignatureError struct {
	Object string // "commit" or "tag"
	Name   string // of the tag or the revision
	Hash   string // of the object; empty if there is none
	Reason error  // one of the errors above
	// Fingerprint of the key that signed, as far as the signature tells.
	Fingerprint string

	remedy string
}

func (e *SignatureError) Error() string {
	what := e.Object
	if e.Name != "" {
		what += fmt.Sprintf(" %q", clip(e.Name))
	}
	if e.Hash != "" {
		what += " (" + e.Hash + ")"
	}
	why := e.Reason.Error()
	if e.Fingerprint != "" {
		why += " " + e.Fingerprint
	}
	return fmt.Sprintf("%s: %s: %s", what, why, e.remedy)
}

func (e *SignatureError) Unwrap() error { return e.Reason }

// Terminal returns true: the same commit and keys give the same answer.
func (e *SignatureError) Terminal() bool { return true }

// Signature is a signature that was found good.
type Signature struct {
	Object string // "commit" or "tag"
	Hash   string // of the object
	Format string // "openpgp" or "ssh"
	// Fingerprint of the key: of an OpenPGP key the primary one's in upper case
	// hexadecimal, of an SSH key SHA256:…, also if it is in a certificate.
	Fingerprint string
	// Signer is whose key it is, as the key file says: the user ID of an
	// OpenPGP key, the principals of an allowed signer, the comment of an
	// authorized key. Of a certificate it is those of its principals that its
	// authority may certify. Several principals have commas between them.
	Signer string
	// CA is the fingerprint of the authority of an SSH certificate, and KeyID
	// what the authority calls the key; empty for other signatures.
	CA, KeyID string
	// Time is when it was signed, as the signature says; zero for SSH, whose
	// signatures say nothing of it.
	Time time.Time
}

// String returns a line for people.
func (s Signature) String() string {
	key := s.Format + " " + s.Fingerprint
	if s.CA != "" {
		key += fmt.Sprintf(", certified as %q by %s", s.KeyID, s.CA)
	}
	return fmt.Sprintf("%s %s signed by %s (%s)", s.Object, s.Hash, s.Signer, key)
}

// Verification is the outcome of [Snapshot.Verify]: what was signed by whom.
type Verification struct {
	Mode       Mode
	Signatures []Signature // the tag's before the commit's
}

// String returns a line for people.
func (v Verification) String() string {
	lines := make([]string, len(v.Signatures))
	for i, s := range v.Signatures {
		lines[i] = s.String()
	}
	return strings.Join(lines, "; ")
}

// Verify checks that the snapshot was signed with one of the keys, over the raw
// bytes of the commit or tag. The tree needs no signature: its hash is in the
// commit. With [ModeTag] the name of the tag must be the one that the revision
// was found under, so that a signed tag cannot stand in for another.
//
// An OpenPGP key or subkey that has expired or was revoked since it signed is
// refused, like Git does: the time that a signature states is the word of who
// holds the key. The validity of an SSH key or certificate is checked for the
// time that the commit or tag itself states, also like Git does; keys that were
// lost are taken from the trusted ones, or revoked with [Keys.Revoke].
//
// Verify refuses some of what Git accepts: signatures over SHA-1, by DSA and by
// RSA of less than 2048 bits; OpenPGP signatures of a text (canonical line
// ends), from the future, with anything after their armor, by keys without flags
// that say that they may sign, or by keys whose user IDs are all revoked; SSH
// certificates with critical options; commits and tags that two readers could
// read differently.
//
// Errors are a [SignatureError]; [ErrInvalidKeys] if there are no keys.
func (s *Snapshot) Verify(keys *Keys, mode Mode) (Verification, error) {
	if mode == "" {
		mode = ModeHead
	}
	if mode != ModeHead && mode != ModeTag && mode != ModeTagAndHead {
		return Verification{}, fmt.Errorf("%w: verification mode %q: head, tag and tag-and-head are known", ErrInvalidKeys, clip(string(mode)))
	}
	if keys.empty() {
		return Verification{}, fmt.Errorf("%w: there are no keys; read them with ParseKeys", ErrInvalidKeys)
	}
	v := Verification{Mode: mode}
	if mode != ModeHead {
		signature, err := s.verifyTag(keys)
		if err != nil {
			return Verification{}, err
		}
		v.Signatures = append(v.Signatures, signature)
	}
	if mode != ModeTag {
		signature, err := s.verifyCommit(keys)
		if err != nil {
			return Verification{}, err
		}
		v.Signatures = append(v.Signatures, signature)
	}
	return v, nil
}

func (s *Snapshot) verifyCommit(keys *Keys) (Signature, error) {
	subject := &SignatureError{Object: "commit", Name: s.found.rev.Name, Hash: s.commit.Hash}
	payload, signature, err := splitCommit(s.rawCommit)
	if err != nil {
		return Signature{}, subject.because(ErrBadSignature, clip(err.Error()))
	}
	return keys.verify(subject, payload, signature, s.commit.Committer.Time)
}

func (s *Snapshot) verifyTag(keys *Keys) (Signature, error) {
	subject := &SignatureError{Object: "tag", Name: s.found.rev.Name}
	if s.tag == nil {
		return Signature{}, subject.because(ErrUnsigned,
			"it is not an annotated tag, and only those can be signed; create it with git tag -s, or verify with mode head")
	}
	subject.Hash = s.tag.Hash
	payload, signature, err := splitTag(s.rawTag)
	if err != nil {
		return Signature{}, subject.because(ErrBadSignature, clip(err.Error()))
	}
	good, err := keys.verify(subject, payload, signature, s.tag.Tagger.Time)
	if err == nil && !s.tagNamed(s.tag.Name) {
		return Signature{}, subject.because(ErrTagName, fmt.Sprintf("it was signed as %q; sign a tag of this name, or ask for that one", clip(s.tag.Name)))
	}
	return good, err
}

// tagNamed says whether a tag that calls itself name may stand at the
// snapshot's reference.
func (s *Snapshot) tagNamed(name string) bool {
	if short, ok := strings.CutPrefix(s.found.ref, tagPrefix); ok {
		return name == short
	}
	return name != "" && strings.HasSuffix(s.found.ref, "/"+name)
}

// because completes an error.
func (e SignatureError) because(reason error, remedy string) *SignatureError {
	e.Reason, e.remedy = reason, remedy
	return &e
}

// verify checks one signature. The time is that which the object states.
func (k *Keys) verify(subject *SignatureError, payload, signature []byte, at time.Time) (Signature, error) {
	good := Signature{Object: subject.Object, Hash: subject.Hash, Format: signatureFormat(signature)}
	var err error
	switch {
	case len(signature) == 0:
		return Signature{}, subject.because(ErrUnsigned, "sign it (git "+subject.Object+" -S or -s), or trust it without verification")
	case good.Format == "openpgp":
		err = k.verifyOpenPGP(subject, payload, signature, &good)
	case good.Format == "ssh":
		err = k.verifySSH(subject, payload, signature, at, &good)
	case good.Format == "x509":
		return Signature{}, subject.because(ErrUnsupportedSignature, "x509 signatures (S/MIME, gitsign) are not verified; sign with OpenPGP or SSH")
	default:
		return Signature{}, subject.because(ErrUnsupportedSignature, "sign with OpenPGP or SSH")
	}
	if err != nil {
		return Signature{}, err
	}
	return good, nil
}
