package git_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

func TestKeysDigest(t *testing.T) {
	key := strings.TrimSpace(keyText(newEd25519(t).PublicKey()))
	other := strings.TrimSpace(keyText(newEd25519(t).PublicKey()))
	release := pgpEntity(t, 2*day, packet.Config{})
	pgp := pgpPublic(t, release)
	digest := func(files ...string) string {
		var data [][]byte
		for _, file := range files {
			data = append(data, []byte(file))
		}
		return parseKeys(t, data...).Digest()
	}
	require.Regexp(t, `^sha256:[0-9a-f]{64}$`, digest(key))

	for _, same := range [][][]string{
		{{key + "\n" + other + "\n" + pgp}, {pgp, other, key}, {pgp + other + "\n# ours\n\n" + key}, {key, key, other, pgp, pgp}},
		{{key}, {key + " dev@example.com"}},
		{{"a@x,b@x " + key}, {"b@x,a@x,a@x " + key + " comment"}, {`"a@x,b@x" ` + key}},
		{{`a@x valid-after="20240101" ` + key}, {`a@x VALID-AFTER="20240101000000Z" ` + key}},
	} {
		for _, files := range same {
			require.Equal(t, digest(same[0]...), digest(files...), "%q", files)
		}
	}

	seen := map[string]string{(&git.Keys{}).Digest(): "none"}
	differ := func(what, digest string) {
		require.NotContains(t, seen, digest, what)
		seen[digest] = what
	}
	for _, file := range []string{
		key, other, pgp, "a@x " + key, "b@x " + key, "a@x cert-authority " + key, "a@x,!b@x " + key,
		`a@x namespaces="git" ` + key, `a@x namespaces="" ` + key, `a@x namespaces="file" ` + key,
		`a@x valid-after="20240101" ` + key, `a@x valid-before="20240101" ` + key,
	} {
		differ(file, digest(file))
	}
	revoked, err := parseKeys(t, []byte(key)).Revoke([]byte(other))
	require.NoError(t, err)
	differ("with a revocation", revoked.Digest())
	selfSign(t, release, func(s *packet.Signature) { s.KeyLifetimeSecs = seconds(100 * day) })
	differ("with an expiry", digest(pgpPublic(t, release)))
	withSigningSubkey(t, release, hour)
	differ("with a subkey", digest(pgpPublic(t, release)))
	require.NoError(t, release.RevokeKey(packet.KeyRetired, "", nil))
	differ("revoked", digest(pgpPublic(t, release)))
}

func TestKeysRevoke(t *testing.T) {
	f := newFixture(t)
	ca, dev, other := newEd25519(t), newEd25519(t), newEd25519(t)
	trusted := []string{"*@example.com cert-authority " + keyText(ca.PublicKey()), "dev@example.com " + keyText(dev.PublicKey())}
	keys := parseKeys(t, []byte(trusted[0]), []byte(trusted[1]))
	f.commit("plain", files("a", "1"), gitserver.SSHSignerOf(dev, ""))
	f.commit("certified", files("a", "1"), certify(t, ca, dev, nil))
	plain, certified := snapshot(t, f.remote(), git.Ref{Branch: "plain"}), snapshot(t, f.remote(), git.Ref{Branch: "certified"})

	for name, tt := range map[string]struct {
		revoked              []string
		ofPlain, ofCertified error
	}{
		"nothing":       {nil, nil, nil},
		"another":       {[]string{keyText(other.PublicKey())}, nil, nil},
		"the key":       {[]string{keyText(other.PublicKey()), keyText(dev.PublicKey())}, git.ErrRevoked, git.ErrRevoked},
		"the authority": {[]string{keyText(ca.PublicKey())}, nil, git.ErrRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			var data [][]byte
			for _, file := range tt.revoked {
				data = append(data, []byte(file))
			}
			rest, err := keys.Revoke(data...)
			require.NoError(t, err)
			check := func(s *git.Snapshot, want error) {
				_, err := s.Verify(keys, git.ModeHead)
				require.NoError(t, err, "the keys themselves stay as they were")
				if _, err = s.Verify(rest, git.ModeHead); want != nil {
					require.ErrorIs(t, err, want)
				} else {
					require.NoError(t, err)
				}
			}
			check(plain, tt.ofPlain)
			check(certified, tt.ofCertified)
			t.Run("git", func(t *testing.T) {
				ask := askGit(t, f, trusted)
				list := filepath.Join(t.TempDir(), "revoked")
				require.NoError(t, os.WriteFile(list, []byte(strings.Join(tt.revoked, "")), 0o600))
				for branch, want := range map[string]error{"plain": tt.ofPlain, "certified": tt.ofCertified} {
					out, err := ask("-c", "gpg.ssh.revocationFile="+list, "verify-commit", branch)
					require.Equal(t, want == nil, err == nil, out)
				}
			})
		})
	}
	for name, file := range map[string]string{
		"empty": "", "principals": "dev@example.com " + keyText(dev.PublicKey()), "a binary list": "SSHKRL\n\x00\x00",
		"OpenPGP": pgpPublic(t, pgpEntity(t, day, packet.Config{})),
	} {
		_, err := keys.Revoke([]byte(file))
		require.ErrorIs(t, err, git.ErrInvalidKeys, name)
		require.ErrorContains(t, err, "revocations", name)
	}
	_, err := (&git.Keys{}).Revoke([]byte(trusted[1]))
	require.ErrorIs(t, err, git.ErrInvalidKeys)
}

// DSA is refused as a key, and by its name as a signature. (This one is by
// ssh-keygen, over a payload of one word.)
func TestVerifySSHRefusesDSA(t *testing.T) {
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		return data
	}
	_, err := git.ParseKeys(read("dsa.pub"))
	require.ErrorIs(t, err, git.ErrInvalidKeys)
	require.ErrorContains(t, err, "ssh-dss")
	keys := parseKeys(t, []byte(keyText(newEd25519(t).PublicKey())))
	require.ErrorIs(t, keys.CheckSignature([]byte("payload\n"), read("dsa.sig")), git.ErrWeakSignature)
}
