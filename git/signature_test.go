package git_test

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// signatureCase is what a signature is worth with some keys, to this package
// and to git.
type signatureCase struct {
	name   string
	signer gitserver.Signer
	keys   []string  // files of keys: armored OpenPGP, or allowed_signers
	at     time.Time // that the object states; zero: 2024-01-01
	want   error     // nil: it is good
	// differs is why git accepts what this package refuses; empty: they agree.
	differs string
	// looser is why this package accepts what git refuses; empty: they agree.
	looser string
	by     string // who signed, if it is good and the case says so
}

// checkSignatures holds Verify to a table, on a commit and on a tag, and the
// table to git.
func checkSignatures(t *testing.T, cases []signatureCase) {
	t.Helper()
	f := newFixture(t)
	// The recorded signatures are over this commit: nothing of it may change.
	base, err := f.Commit(t.Context(), files("a", "1"), gitserver.CommitOptions{Message: "base"})
	require.NoError(t, err)
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			name := strings.ReplaceAll(tt.name, " ", "-")
			commit, err := f.Commit(t.Context(), files("a", "1"), gitserver.CommitOptions{
				Branch: name, Message: name, Signer: tt.signer, Time: tt.at, Parents: []string{}})
			require.NoError(t, err)
			tag, err := f.Tag(t.Context(), name, base, gitserver.TagOptions{Message: name, Signer: tt.signer, Time: tt.at})
			require.NoError(t, err)

			check := func(ref git.Ref, mode git.Mode) {
				v, err := verifyWith(t, snapshot(t, f.remote(), ref), tt.keys, mode)
				if tt.want != nil {
					require.ErrorIs(t, err, tt.want)
					require.True(t, terminal(t, err))
					var refused *git.SignatureError
					if errors.As(err, &refused) {
						require.Equal(t, tt.want, refused.Reason)
						require.NotEmpty(t, refused.Hash)
						require.Contains(t, err.Error(), refused.Hash)
						require.Contains(t, err.Error(), refused.Fingerprint)
					}
					return
				}
				require.NoError(t, err)
				if tt.by != "" {
					require.Equal(t, tt.by, v.Signatures[0].Signer)
				}
			}
			check(git.Ref{Branch: name}, git.ModeHead)
			check(git.Ref{Tag: name}, git.ModeTag)

			t.Run("git", func(t *testing.T) {
				ask := askGit(t, f, tt.keys)
				accepts := tt.want == nil && tt.looser == "" || tt.differs != ""
				out, err := ask("verify-commit", "--raw", commit)
				require.Equal(t, accepts, err == nil, out)
				out, err = ask("verify-tag", "--raw", tag)
				require.Equal(t, accepts, err == nil, out)
			})
		})
	}
}

// verifyWith parses keys and verifies; an error of either is the answer.
func verifyWith(t *testing.T, s *git.Snapshot, keys []string, mode git.Mode) (git.Verification, error) {
	t.Helper()
	var data [][]byte
	for _, file := range keys {
		data = append(data, []byte(file))
	}
	parsed, err := git.ParseKeys(data...)
	if err != nil {
		return git.Verification{}, err
	}
	return s.Verify(parsed, mode)
}

// askGit returns a function that asks git, with some keys and nothing else.
func askGit(t *testing.T, f *fixture, keys []string) func(args ...string) (string, error) {
	t.Helper()
	for _, tool := range []string{"gpg", "gpgconf", "ssh-keygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: nothing to compare with", tool)
		}
	}
	home := t.TempDir()
	require.NoError(t, os.Chmod(home, 0o700))
	env := append(gitserver.Environ(), "GNUPGHOME="+home, "TZ=UTC")
	run := func(stdin, name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env, cmd.Stdin = f.Dir(), env, strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	var signers strings.Builder
	for _, file := range keys {
		if strings.Contains(file, "BEGIN PGP") {
			// Its answer is not asked for: it is about all keys, and git's
			// verdict below is what counts.
			_, _ = run(file, "gpg", "--batch", "--no-autostart", "--import")
		} else {
			signers.WriteString(file + "\n")
		}
	}
	t.Cleanup(func() { _, _ = run("", "gpgconf", "--kill", "all") })
	allowed := filepath.Join(home, "allowed_signers")
	require.NoError(t, os.WriteFile(allowed, []byte(signers.String()), 0o600))
	return func(args ...string) (string, error) {
		return run("", "git", append([]string{"-c", "gpg.ssh.allowedSignersFile=" + allowed}, args...)...)
	}
}

// signFunc makes signatures of any kind.
type signFunc func(payload []byte) ([]byte, error)

func (f signFunc) Sign(payload []byte) ([]byte, error) { return f(payload) }
func (signFunc) PublicKey() []byte                     { return nil }

// pgpEntity makes a key as it was made some time ago.
func pgpEntity(t *testing.T, age time.Duration, config packet.Config) *openpgp.Entity {
	t.Helper()
	at := time.Now().Add(-age)
	config.Time, config.DefaultHash = func() time.Time { return at }, crypto.SHA256
	if config.Algorithm == 0 {
		config.Algorithm = packet.PubKeyAlgoEdDSA
	}
	e, err := openpgp.NewEntity("Release Bot", "", "bot@example.com", &config)
	require.NoError(t, err)
	return e
}

// withSigningSubkey adds one, and returns the whole.
func withSigningSubkey(t *testing.T, e *openpgp.Entity, age time.Duration) *openpgp.Entity {
	t.Helper()
	at := time.Now().Add(-age)
	require.NoError(t, e.AddSigningSubkey(&packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA256, Time: func() time.Time { return at }}))
	return e
}

// lastSubkey is the one that was added last.
func lastSubkey(e *openpgp.Entity) *openpgp.Subkey { return &e.Subkeys[len(e.Subkeys)-1] }

// pgpSignature is a signature by any key, of any kind and time, that a library
// made for honest use would not make.
func pgpSignature(key *packet.PrivateKey, age time.Duration, change func(*packet.Signature)) signFunc {
	return func(payload []byte) ([]byte, error) {
		sig := &packet.Signature{
			Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: key.PubKeyAlgo, Hash: crypto.SHA256,
			CreationTime: time.Now().Add(-age), IssuerKeyId: &key.KeyId, IssuerFingerprint: key.Fingerprint,
		}
		if change != nil {
			change(sig)
		}
		if sig.SigType == packet.SigTypeText {
			payload = bytes.ReplaceAll(payload, []byte("\n"), []byte("\r\n"))
		}
		h := sig.Hash.New()
		h.Write(payload)
		if err := sig.Sign(h, key, nil); err != nil {
			return nil, err
		}
		return armored(openpgp.SignatureType, sig.Serialize)
	}
}

func armored(kind string, write ...func(io.Writer) error) ([]byte, error) {
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, nil)
	for _, write := range write {
		if err == nil {
			err = write(w)
		}
	}
	if err == nil {
		err = w.Close()
	}
	return append(out.Bytes(), '\n'), err
}

// pgpPublic is an armored file of keys.
func pgpPublic(t *testing.T, keys ...*openpgp.Entity) string {
	t.Helper()
	var write []func(io.Writer) error
	for _, e := range keys {
		write = append(write, e.Serialize)
	}
	text, err := armored(openpgp.PublicKeyType, write...)
	require.NoError(t, err)
	return string(text)
}

// selfSign signs the user ID anew, with some change.
func selfSign(t *testing.T, e *openpgp.Entity, change func(*packet.Signature)) {
	t.Helper()
	for name, identity := range e.Identities {
		sig := *identity.SelfSignature
		change(&sig)
		sig.CreationTime = sig.CreationTime.Add(time.Second)
		require.NoError(t, sig.SignUserId(name, e.PrimaryKey, e.PrivateKey, &packet.Config{DefaultHash: crypto.SHA256}))
		identity.SelfSignature, identity.Signatures = &sig, []*packet.Signature{&sig}
	}
}

// revokeUsers revokes all user IDs, but not the key.
func revokeUsers(t *testing.T, e *openpgp.Entity) {
	t.Helper()
	for name, identity := range e.Identities {
		sig := &packet.Signature{Version: 4, SigType: packet.SigTypeCertificationRevocation, PubKeyAlgo: e.PrimaryKey.PubKeyAlgo,
			Hash: crypto.SHA256, CreationTime: time.Now().Add(-hour), IssuerKeyId: &e.PrimaryKey.KeyId}
		require.NoError(t, sig.SignUserId(name, e.PrimaryKey, e.PrivateKey, &packet.Config{DefaultHash: crypto.SHA256}))
		identity.Signatures = append(identity.Signatures, sig)
	}
}

// bind signs a subkey anew, with some change.
func bind(t *testing.T, e *openpgp.Entity, change func(*packet.Signature)) {
	t.Helper()
	sub := lastSubkey(e)
	change(sub.Sig)
	require.NoError(t, sub.Sig.SignKey(sub.PublicKey, e.PrivateKey, &packet.Config{DefaultHash: crypto.SHA256}))
}

const hour, day = time.Hour, 24 * time.Hour

func seconds(d time.Duration) *uint32 { s := uint32(d / time.Second); return &s }

func TestVerifyOpenPGPAsGit(t *testing.T) {
	good := pgpEntity(t, 2*day, packet.Config{})
	other := pgpEntity(t, 2*day, packet.Config{})
	rsaKey := pgpEntity(t, 2*day, packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048})
	shortRSA := pgpEntity(t, 2*day, packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 1024})
	p256 := pgpEntity(t, 2*day, packet.Config{Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveNistP256})
	withSub := pgpEntity(t, 3*day, packet.Config{})
	withoutSub := pgpPublic(t, withSub)
	withSigningSubkey(t, withSub, 2*day)
	sign := func(e *openpgp.Entity, age time.Duration) signFunc { return pgpSignature(e.PrivateKey, age, nil) }
	change := func(change func(*packet.Signature)) signFunc { return pgpSignature(good.PrivateKey, hour, change) }

	fresh := func(config packet.Config) *openpgp.Entity { return pgpEntity(t, 2*day, config) }
	revoke := func(reason packet.ReasonForRevocation) (before, after string, signer signFunc) {
		e := fresh(packet.Config{})
		before = pgpPublic(t, e)
		require.NoError(t, e.RevokeKey(reason, "", &packet.Config{DefaultHash: crypto.SHA256}))
		return before, pgpPublic(t, e), sign(e, hour)
	}
	before, compromised, byCompromised := revoke(packet.KeyCompromised)
	_, retired, byRetired := revoke(packet.KeyRetired)

	expired := fresh(packet.Config{KeyLifetimeSecs: 24 * 3600})
	beforeRenewal := pgpPublic(t, expired)
	renewed := *expired
	renewed.Identities = map[string]*openpgp.Identity{}
	for name, identity := range expired.Identities {
		same := *identity
		renewed.Identities[name] = &same
	}
	selfSign(t, &renewed, func(s *packet.Signature) { s.KeyLifetimeSecs = nil })

	expiredSub := withSigningSubkey(t, fresh(packet.Config{}), 2*day)
	bind(t, expiredSub, func(s *packet.Signature) { s.KeyLifetimeSecs = seconds(day) })
	renewedSub := *expiredSub
	renewedSub.Subkeys = slices.Clone(expiredSub.Subkeys)
	lastSubkey(&renewedSub).Sig = copyOf(lastSubkey(expiredSub).Sig)
	bind(t, &renewedSub, func(s *packet.Signature) {
		s.KeyLifetimeSecs, s.CreationTime = seconds(10*day), s.CreationTime.Add(day)
	})
	revokedSub := withSigningSubkey(t, fresh(packet.Config{}), 2*day)
	beforeRevokedSub := pgpPublic(t, revokedSub)
	require.NoError(t, revokedSub.RevokeSubkey(lastSubkey(revokedSub), packet.KeyCompromised, "", &packet.Config{DefaultHash: crypto.SHA256}))
	expiredWithSub := withSigningSubkey(t, fresh(packet.Config{KeyLifetimeSecs: 24 * 3600}), 47*hour)
	revokedWithSub := withSigningSubkey(t, fresh(packet.Config{}), 2*day)
	require.NoError(t, revokedWithSub.RevokeKey(packet.KeyCompromised, "", &packet.Config{DefaultHash: crypto.SHA256}))
	revokedUser := fresh(packet.Config{})
	revokeUsers(t, revokedUser)
	nobody := fresh(packet.Config{})
	revokeUsers(t, nobody)
	for _, identity := range nobody.Identities {
		identity.Signatures = identity.Signatures[1:] // only the revocation is left
	}
	noCross := withSigningSubkey(t, fresh(packet.Config{}), 2*day)
	bind(t, noCross, func(s *packet.Signature) { s.EmbeddedSignature = nil })
	stolen := withSigningSubkey(t, fresh(packet.Config{}), 2*day)
	stolen.Subkeys = append(stolen.Subkeys, openpgp.Subkey{
		PublicKey: lastSubkey(withSub).PublicKey, PrivateKey: lastSubkey(withSub).PrivateKey, Sig: copyOf(lastSubkey(withSub).Sig)})
	bind(t, stolen, func(*packet.Signature) {}) // with the back-signature for another key
	noFlags := fresh(packet.Config{})
	selfSign(t, noFlags, func(s *packet.Signature) { s.FlagsValid, s.FlagSign, s.FlagCertify = false, false, false })
	certifyOnly := fresh(packet.Config{})
	selfSign(t, certifyOnly, func(s *packet.Signature) { s.FlagSign = false })

	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		return data
	}
	sha1 := signFunc(func(payload []byte) ([]byte, error) {
		if bytes.HasPrefix(payload, []byte("tree ")) {
			return read("sha1-commit.sig.asc"), nil
		}
		return read("sha1-tag.sig.asc"), nil
	})
	edit := func(edit func(string) string) signFunc {
		return func(payload []byte) ([]byte, error) {
			text, err := sign(good, hour)(payload)
			return []byte(edit(string(text))), err
		}
	}
	two := signFunc(func(payload []byte) ([]byte, error) {
		a, err := sign(good, hour)(payload)
		require.NoError(t, err)
		b, err := sign(good, 2*hour)(payload)
		require.NoError(t, err)
		return armored(openpgp.SignatureType, unarmored(t, a), unarmored(t, b))
	})
	moved := signFunc(func(payload []byte) ([]byte, error) { return sign(good, hour)(append(payload, '\n')) })

	pub := func(keys ...*openpgp.Entity) []string { return []string{pgpPublic(t, keys...)} }
	const who = "Release Bot <bot@example.com>"
	checkSignatures(t, []signatureCase{
		{name: "unsigned", keys: pub(good), want: git.ErrUnsigned},
		{name: "ed25519", signer: sign(good, hour), keys: pub(good), by: who},
		{name: "rsa", signer: sign(rsaKey, hour), keys: pub(rsaKey), by: who},
		{name: "ecdsa", signer: sign(p256, hour), keys: pub(p256), by: who},
		{name: "sha384", signer: change(func(s *packet.Signature) { s.Hash = crypto.SHA384 }), keys: pub(good)},
		{name: "sha512", signer: change(func(s *packet.Signature) { s.Hash = crypto.SHA512 }), keys: pub(good)},
		{name: "signing subkey", signer: pgpSignature(lastSubkey(withSub).PrivateKey, hour, nil), keys: pub(withSub), by: who},
		{name: "primary beside a subkey", signer: sign(withSub, hour), keys: pub(withSub), by: who},
		{name: "last of several keys in a file", signer: sign(good, hour), keys: pub(other, rsaKey, good)},
		{name: "last of several blocks in a file", signer: sign(good, hour), keys: []string{pgpPublic(t, other) + pgpPublic(t, good)}},
		{name: "last of several files", signer: sign(good, hour), keys: append(pub(other), pub(good)...)},

		{name: "unknown key", signer: sign(good, hour), keys: pub(other), want: git.ErrUnknownKey},
		{name: "another payload", signer: moved, keys: pub(good), want: git.ErrBadSignature},
		{name: "expired signature", signer: change(func(s *packet.Signature) { s.SigLifetimeSecs = seconds(time.Minute) }), keys: pub(good), want: git.ErrExpired},
		{name: "key expired after signing", signer: sign(expired, 36*hour), keys: []string{beforeRenewal}, want: git.ErrExpired},
		{name: "key expired before signing", signer: sign(expired, hour), keys: []string{beforeRenewal}, want: git.ErrExpired},
		{name: "key renewed", signer: sign(expired, hour), keys: pub(&renewed)},
		{name: "key renewed beside the old copy", signer: sign(expired, hour), keys: append(pub(&renewed), beforeRenewal)},
		{name: "old copy beside the key renewed", signer: sign(expired, hour), keys: append([]string{beforeRenewal}, pub(&renewed)...)},
		{name: "subkey renewed beside the old copy", signer: pgpSignature(lastSubkey(expiredSub).PrivateKey, hour, nil), keys: append(pub(&renewedSub), pub(expiredSub)...)},
		{name: "old copy beside the subkey renewed", signer: pgpSignature(lastSubkey(expiredSub).PrivateKey, hour, nil), keys: append(pub(expiredSub), pub(&renewedSub)...)},
		{name: "subkey that is not in the old copy", signer: pgpSignature(lastSubkey(withSub).PrivateKey, hour, nil), keys: append([]string{withoutSub}, pub(withSub)...)},
		{name: "subkey expired after signing", signer: pgpSignature(lastSubkey(expiredSub).PrivateKey, 36*hour, nil), keys: pub(expiredSub), want: git.ErrExpired},
		{name: "revoked key", signer: byCompromised, keys: []string{compromised}, want: git.ErrRevoked},
		{name: "revoked key beside the old copy", signer: byCompromised, keys: []string{before, compromised}, want: git.ErrRevoked},
		{name: "old copy beside the revoked key", signer: byCompromised, keys: []string{compromised, before}, want: git.ErrRevoked},
		{name: "retired key", signer: byRetired, keys: []string{retired}, want: git.ErrRevoked},
		{name: "revoked subkey", signer: pgpSignature(lastSubkey(revokedSub).PrivateKey, hour, nil), keys: pub(revokedSub), want: git.ErrRevoked},
		{name: "old copy beside the revoked subkey", signer: pgpSignature(lastSubkey(revokedSub).PrivateKey, hour, nil), keys: append([]string{beforeRevokedSub}, pub(revokedSub)...), want: git.ErrRevoked},
		{name: "primary of a revoked subkey", signer: sign(revokedSub, hour), keys: pub(revokedSub)},
		{name: "subkey without back-signature", signer: pgpSignature(lastSubkey(noCross).PrivateKey, hour, nil), keys: pub(noCross), want: git.ErrInvalidKeys},
		{name: "subkey of another key", signer: pgpSignature(lastSubkey(withSub).PrivateKey, hour, nil), keys: pub(stolen), want: git.ErrInvalidKeys},
		{name: "encryption subkey", signer: pgpSignature(rsaKey.Subkeys[0].PrivateKey, hour, nil), keys: pub(rsaKey), want: git.ErrUnknownKey},
		{name: "key for certificates", signer: sign(certifyOnly, hour), keys: pub(certifyOnly), want: git.ErrUnknownKey},
		{name: "subkey of an expired key", signer: pgpSignature(lastSubkey(expiredWithSub).PrivateKey, 36*hour, nil), keys: pub(expiredWithSub), want: git.ErrExpired},
		{name: "subkey of a revoked key", signer: pgpSignature(lastSubkey(revokedWithSub).PrivateKey, hour, nil), keys: pub(revokedWithSub), want: git.ErrRevoked},
		{name: "no signature of its own", signer: sign(nobody, hour), keys: pub(nobody), want: git.ErrInvalidKeys,
			differs: "nothing of the key says what it is for; gpg calls it uncertain"},
		{name: "older than its key", signer: sign(good, 3*day), keys: pub(good), want: git.ErrBadSignature},
		{name: "standalone signature", signer: change(func(s *packet.Signature) { s.SigType = 2 }), keys: pub(good), want: git.ErrBadSignature},
		{name: "certification", signer: change(func(s *packet.Signature) { s.SigType = packet.SigTypeGenericCert }), keys: pub(good), want: git.ErrBadSignature},
		{name: "two signatures", signer: two, keys: pub(good), want: git.ErrBadSignature},
		{name: "x509", signer: x509Signer{}, keys: pub(good), want: git.ErrUnsupportedSignature},

		{name: "sha1", signer: sha1, keys: []string{string(read("sha1-rsa.key.asc"))}, want: git.ErrWeakSignature,
			differs: "two texts of one SHA-1 can be made"},
		{name: "short rsa", signer: sign(shortRSA, hour), keys: pub(shortRSA), want: git.ErrWeakSignature,
			differs: "RSA of 1024 bits can be broken"},
		{name: "text signature", signer: change(func(s *packet.Signature) { s.SigType = packet.SigTypeText }), keys: pub(good), want: git.ErrBadSignature,
			differs: "it is not over the raw bytes"},
		{name: "in the future", signer: sign(good, -day), keys: pub(good), want: git.ErrExpired,
			differs: "gpg says nothing of it"},
		{name: "no key flags", signer: sign(noFlags, hour), keys: pub(noFlags), want: git.ErrUnknownKey,
			differs: "gpg takes a key without flags to be for everything"},
		{name: "revoked user", signer: sign(revokedUser, hour), keys: pub(revokedUser), want: git.ErrRevoked,
			differs: "nobody stands behind the key any more; gpg calls it uncertain"},
		{name: "text after the armor", signer: edit(func(s string) string { return s + "more\n" }), keys: pub(good), want: git.ErrBadSignature,
			differs: "nobody signed the text"},
	})
}

func copyOf(sig *packet.Signature) *packet.Signature { c := *sig; return &c }

// unarmored returns what writes the content of an armored text.
func unarmored(t *testing.T, text []byte) func(io.Writer) error {
	t.Helper()
	block, err := armor.Decode(bytes.NewReader(text))
	require.NoError(t, err)
	data, err := io.ReadAll(block.Body)
	require.NoError(t, err)
	return func(w io.Writer) error { _, err := w.Write(data); return err }
}
