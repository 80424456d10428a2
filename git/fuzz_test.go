package git_test

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

const (
	fuzzCommit = "tree 0123456789abcdef0123456789abcdef01234567\nparent 0123456789abcdef0123456789abcdef01234567\n" +
		"author A U <a@example.com> 1700000000 +0100\ncommitter C <c@example.com> 1700000000 -0930\n" +
		"gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\nencoding x\n\nmessage\n"
	fuzzTag = "object 0123456789abcdef0123456789abcdef01234567\ntype commit\ntag v1\ntagger A <a@example.com> 1 +0000\n\n" +
		"message\n-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----\n"
)

// What is signed and the signature are parts of the commit, in its order; a
// payload of a commit that is not signed is the commit itself.
func FuzzSplitCommit(f *testing.F) {
	f.Add([]byte(fuzzCommit))
	f.Add([]byte(strings.Replace(fuzzCommit, "gpgsig", "gpgsig-sha256", 1)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		payload, signature, err := git.SplitCommit(raw)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(payload)+len(signature), len(raw)+1)
		again, none, err := git.SplitCommit(payload)
		require.NoError(t, err, "a payload is a commit")
		require.Empty(t, none, "without a signature")
		require.True(t, bytes.Equal(payload, again))
		if !bytes.Contains(raw, []byte("\ngpgsig")) {
			require.True(t, bytes.Equal(raw, payload))
		}
		// Whatever was accepted is read in one way.
		commit, err := git.ParseCommit(raw)
		if err == nil {
			stripped, err := git.ParseCommit(payload)
			require.NoError(t, err)
			require.Equal(t, commit.Tree, stripped.Tree)
			require.Equal(t, commit.Message, stripped.Message)
		}
	})
}

func FuzzSplitTag(f *testing.F) {
	f.Add([]byte(fuzzTag))
	f.Add([]byte(strings.Split(fuzzTag, "-----")[0]))
	f.Fuzz(func(t *testing.T, raw []byte) {
		payload, signature, err := git.SplitTag(raw)
		if err != nil {
			return
		}
		if !bytes.Contains(raw, []byte("\ngpgsig")) {
			require.True(t, bytes.Equal(raw, append(bytes.Clone(payload), signature...)))
		}
		tag, _, err := git.ParseTag(raw)
		if err == nil {
			require.True(t, bytes.HasSuffix(payload, []byte(tag.Message)))
		}
	})
}

func FuzzParseCommit(f *testing.F) {
	f.Add([]byte(fuzzCommit))
	f.Fuzz(func(t *testing.T, raw []byte) {
		commit, err := git.ParseCommit(raw)
		if err != nil {
			require.ErrorIs(t, err, git.ErrMalformed)
			return
		}
		require.Len(t, commit.Tree, 40)
		require.True(t, strings.HasSuffix(string(raw), commit.Message))
	})
}

func FuzzParseTag(f *testing.F) {
	f.Add([]byte(fuzzTag))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tag, _, err := git.ParseTag(raw)
		if err != nil {
			require.ErrorIs(t, err, git.ErrMalformed)
			return
		}
		require.Len(t, tag.Target, 40)
	})
}

func FuzzParseTree(f *testing.F) {
	blob := strings.Repeat("0", 39) + "1"
	f.Add(treeOf("100644 a", blob, "100755 b", blob, "40000 c", blob, "120000 d", blob, "160000 e", blob))
	f.Add(treeOf("100644 a.b", blob, "40000 a", blob))
	f.Add(treeOf("40000 .git", blob))
	f.Fuzz(func(t *testing.T, raw []byte) {
		names, err := git.TreeNames(raw)
		if err != nil {
			require.ErrorIs(t, err, git.ErrMalformed)
			return
		}
		last := ""
		for _, name := range names {
			require.True(t, fs.ValidPath(name), "%q", name)
			require.NotEqual(t, ".", name)
			require.NotContains(t, name, "/")
			require.False(t, strings.EqualFold(name, ".git"))
			require.Greater(t, name, last)
			last = name
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGkxn4+7rLXP0bFX8sHxUoVW5yuY3TkQYY7AxT2WnT9g dev@example.com\n"))
	f.Add([]byte("!a@x,*@x cert-authority,valid-before=\"20240101UTC\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGkxn4+7rLXP0bFX8sHxUoVW5yuY3TkQYY7AxT2WnT9g\n"))
	f.Add([]byte("dev@example.com,*@x namespaces=\"git,file\",valid-after=20240101 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGkxn4+7rLXP0bFX8sHxUoVW5yuY3TkQYY7AxT2WnT9g\n"))
	if key, err := os.ReadFile(filepath.Join("testdata", "sha1.key.asc")); err == nil {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := git.ParseKeys(data)
		if err != nil {
			require.ErrorIs(t, err, git.ErrInvalidKeys)
			return
		}
		require.NotEmpty(t, keys.Fingerprints())
		// Neither copies nor comments make a difference.
		again, err := git.ParseKeys(data, data)
		require.NoError(t, err)
		require.Equal(t, keys.Digest(), again.Digest())
		require.Equal(t, keys.Fingerprints(), again.Fingerprints())
		if len(data) < 1<<19 {
			again, err = git.ParseKeys(append([]byte("# ours\n\n"), data...))
			require.NoError(t, err)
			require.Equal(t, keys.Digest(), again.Digest())
		}
	})
}

// A pattern is the regular expression that it stands for.
func FuzzMatchPattern(f *testing.F) {
	f.Add("*@example.com", "dev@example.com")
	f.Add("a?c*", "abcd")
	f.Add("**a*?", "baab")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		for _, r := range pattern + s {
			if r > 126 || r < 32 {
				return // bytes there, characters here
			}
		}
		expression := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
		want, err := regexp.MatchString("^(?:"+expression+")$", s)
		if err != nil {
			return // longer than a regular expression may be
		}
		require.Equal(t, want, git.MatchPattern(pattern, s), "%q %q", pattern, s)
	})
}

// No signature that anyone thinks up is good for a key that did not make it.
func FuzzSignature(f *testing.F) {
	dev, err := gitserver.NewSSHSigner("dev")
	require.NoError(f, err)
	release, err := gitserver.NewOpenPGPSigner("Release", "r@example.com")
	require.NoError(f, err)
	other, err := gitserver.NewSSHSigner("other")
	require.NoError(f, err)
	for _, signer := range []gitserver.Signer{dev, release, other} {
		signature, err := signer.Sign([]byte("something else"))
		require.NoError(f, err)
		f.Add(signature)
	}
	keys, err := git.ParseKeys(dev.PublicKey(), release.PublicKey())
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, armored []byte) {
		require.Error(t, keys.CheckSignature([]byte("payload"), armored))
	})
}

func FuzzSSHSignature(f *testing.F) {
	dev, err := gitserver.NewSSHSigner("dev")
	require.NoError(f, err)
	signature, err := dev.Sign([]byte("payload"))
	require.NoError(f, err)
	require.NoError(f, git.CheckSSHSignature(signature, []byte("payload")))
	f.Add(signature)
	f.Add([]byte(strings.ReplaceAll(string(signature), "\n", "\r\n")))
	f.Fuzz(func(t *testing.T, armored []byte) {
		require.Error(t, git.CheckSSHSignature(armored, []byte("another payload")))
		fields, err := git.SSHSignatureFields(armored)
		if err != nil {
			return
		}
		// What was read, written again, is read the same.
		blob := append([]byte("SSHSIG"), ssh.Marshal(struct {
			Version                                uint32
			Key, Namespace, Reserved, Hash, Signed string
		}{1, fields[2], fields[0], "", fields[1], fields[3]})...)
		again, err := git.SSHSignatureFields([]byte("-----BEGIN SSH SIGNATURE-----\n" +
			base64.StdEncoding.EncodeToString(blob) + "\n-----END SSH SIGNATURE-----"))
		require.NoError(t, err)
		require.Equal(t, fields, again)
	})
}

// An armored signature is one, with nothing before or after it.
func FuzzOpenPGPSignature(f *testing.F) {
	release, err := gitserver.NewOpenPGPSigner("Release", "r@example.com")
	require.NoError(f, err)
	signature, err := release.Sign([]byte("payload"))
	require.NoError(f, err)
	f.Add(signature)
	f.Add(append(bytes.Clone(signature), signature...))
	f.Fuzz(func(t *testing.T, armored []byte) {
		blob, err := git.OpenPGPSignature(armored)
		if err != nil {
			return
		}
		again, err := git.OpenPGPSignature(bytes.TrimSpace(armored))
		require.NoError(t, err)
		require.Equal(t, blob, again)
		_, err = git.OpenPGPSignature(append(bytes.Clone(armored), "\nmore"...))
		require.Error(t, err)
		_, err = git.OpenPGPSignature(append(bytes.Clone(armored), armored...))
		require.Error(t, err)
	})
}

func FuzzParseRevision(f *testing.F) {
	f.Add("main@sha1:0123456789abcdef0123456789abcdef01234567")
	f.Add("sha1:0123456789abcdef0123456789abcdef01234567")
	f.Add("refs/pull/1/head@sha1:0123456789abcdef0123456789abcdef01234567")
	f.Fuzz(func(t *testing.T, s string) {
		rev, err := git.ParseRevision(s)
		if err != nil {
			require.ErrorIs(t, err, git.ErrInvalidRef)
			return
		}
		require.Equal(t, s, rev.String())
		require.Len(t, rev.Commit, 40)
	})
}

func FuzzPack(f *testing.F) {
	_, entries := tiny("hello\n")
	f.Add(pack(3, entries...))
	f.Add(pack(4, append(entries[:3:3], packed{6, -1, []byte{1}, []byte{6, 1, 1, 'x'}})...))
	limits := git.Limits{ObjectSize: 1 << 20, Inflated: 4 << 20, Objects: 100}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := git.ReadPack(t.Context(), data, limits)
		if err == nil {
			require.LessOrEqual(t, n, 100)
		}
	})
}

func FuzzAdvertisement(f *testing.F) {
	f.Add([]byte(oneRef(zeros)))
	f.Add([]byte(pkt(zeros+" HEAD\x00symref=HEAD:refs/heads/main agent=x\n") + pkt(zeros+" refs/tags/v1\n") + pkt(zeros+" refs/tags/v1^{}\n") + "0000"))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := git.ReadAdvertisement(data)
		if err != nil {
			return
		}
		for _, name := range names {
			require.True(t, git.ValidRefName(name), "%q", name)
		}
	})
}

func FuzzKnownHosts(f *testing.F) {
	f.Add([]byte("example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGkxn4+7rLXP0bFX8sHxUoVW5yuY3TkQYY7AxT2WnT9g\n"), "example.com")
	f.Add([]byte("@cert-authority [*.example.com]:2222,!x,|1|a|b ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGkxn4+7rLXP0bFX8sHxUoVW5yuY3TkQYY7AxT2WnT9g\n"), "[a.example.com]:2222")
	f.Fuzz(func(t *testing.T, data []byte, host string) {
		_, err := git.MatchKnownHost(data, host)
		if err != nil {
			require.ErrorIs(t, err, git.ErrInvalidAuth)
		}
	})
}
