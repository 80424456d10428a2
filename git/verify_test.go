package git_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

func TestVerify(t *testing.T) {
	f := newFixture(t)
	release, other := pgpSigner(t), pgpSigner(t)
	dev, stranger := sshSigner(t), sshSigner(t)
	plain := f.commit("plain", files("a", "0"), nil)
	byDev := f.commit("by-dev", files("a", "1"), dev)
	byRelease := f.commit("by-release", files("a", "2"), release)
	f.commit("by-stranger", files("a", "3"), stranger)
	f.commit("by-other", files("a", "4"), other)
	f.tag("v1-pgp", byDev, release)
	f.tag("v1-ssh", byRelease, dev)
	f.tag("v1-unsigned", byDev, nil)
	f.tag("v1-stranger", byDev, stranger)
	f.tag("v1-other", byDev, other)
	f.tag("v1-plain-commit", plain, release)
	f.setRef("refs/tags/v1-light", byDev)
	keys := parseKeys(t, release.PublicKey(), dev.PublicKey())

	tests := []struct {
		ref    git.Ref
		mode   git.Mode
		want   error
		object string // that an error is about
		signer []string
	}{
		{git.Ref{Branch: "by-dev"}, git.ModeHead, nil, "", []string{"dev@example.com"}},
		{git.Ref{Branch: "by-release"}, git.ModeHead, nil, "", []string{"Release Bot <bot@example.com>"}},
		{git.Ref{Branch: "by-release"}, "", nil, "", []string{"Release Bot <bot@example.com>"}},
		{git.Ref{Branch: "plain"}, git.ModeHead, git.ErrUnsigned, "commit", nil},
		{git.Ref{Branch: "by-stranger"}, git.ModeHead, git.ErrUnknownKey, "commit", nil},
		{git.Ref{Branch: "by-other"}, git.ModeHead, git.ErrUnknownKey, "commit", nil},
		{git.Ref{Branch: "by-dev"}, git.ModeTag, git.ErrUnsigned, "tag", nil},
		{git.Ref{Tag: "v1-pgp"}, git.ModeTag, nil, "", []string{"Release Bot <bot@example.com>"}},
		{git.Ref{Tag: "v1-pgp"}, git.ModeTagAndHead, nil, "", []string{"Release Bot <bot@example.com>", "dev@example.com"}},
		{git.Ref{Tag: "v1-ssh"}, git.ModeTagAndHead, nil, "", []string{"dev@example.com", "Release Bot <bot@example.com>"}},
		{git.Ref{Name: "refs/tags/v1-ssh"}, git.ModeTag, nil, "", []string{"dev@example.com"}},
		{git.Ref{Tag: "v1-pgp"}, git.ModeHead, nil, "", []string{"dev@example.com"}},
		{git.Ref{Tag: "v1-light"}, git.ModeHead, nil, "", []string{"dev@example.com"}},
		{git.Ref{Tag: "v1-light"}, git.ModeTag, git.ErrUnsigned, "tag", nil},
		{git.Ref{Tag: "v1-unsigned"}, git.ModeTag, git.ErrUnsigned, "tag", nil},
		{git.Ref{Tag: "v1-unsigned"}, git.ModeTagAndHead, git.ErrUnsigned, "tag", nil},
		{git.Ref{Tag: "v1-stranger"}, git.ModeTag, git.ErrUnknownKey, "tag", nil},
		{git.Ref{Tag: "v1-other"}, git.ModeTag, git.ErrUnknownKey, "tag", nil},
		{git.Ref{Tag: "v1-plain-commit"}, git.ModeTag, nil, "", []string{"Release Bot <bot@example.com>"}},
		{git.Ref{Tag: "v1-plain-commit"}, git.ModeTagAndHead, git.ErrUnsigned, "commit", nil},
		{git.Ref{Commit: byDev}, git.ModeHead, nil, "", []string{"dev@example.com"}},
	}
	r := f.remote()
	for _, tt := range tests {
		t.Run(tt.ref.String()+" "+string(tt.mode), func(t *testing.T) {
			s := snapshot(t, r, tt.ref)
			v, err := s.Verify(keys, tt.mode)
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
				var sig *git.SignatureError
				require.ErrorAs(t, err, &sig)
				require.Equal(t, tt.object, sig.Object)
				require.True(t, terminal(t, err))
				require.Empty(t, v)
				return
			}
			require.NoError(t, err)
			var signers []string
			for _, sig := range v.Signatures {
				signers = append(signers, sig.Signer)
				require.Contains(t, keys.Fingerprints(), sig.Fingerprint)
			}
			require.Equal(t, tt.signer, signers)
		})
	}
	t.Run("no keys", func(t *testing.T) {
		s := snapshot(t, r, git.Ref{Branch: "by-dev"})
		for _, keys := range []*git.Keys{nil, {}} {
			_, err := s.Verify(keys, git.ModeHead)
			require.ErrorIs(t, err, git.ErrInvalidKeys)
		}
		_, err := s.Verify(keys, "none")
		require.ErrorIs(t, err, git.ErrInvalidKeys)
	})
}

// The bytes that are checked are the raw ones: whatever else a commit holds,
// git's answer is ours.
func TestVerifyOddCommits(t *testing.T) {
	f := newFixture(t)
	dev, release := sshSigner(t), pgpSigner(t)
	tree, err := f.Tree(files("a", "1"))
	require.NoError(t, err)
	who := "A <a@example.com> 1700000000 +0000"
	base := "tree " + tree + "\nauthor " + who + "\ncommitter " + who + "\n"

	// put signs a text and puts the signature at the place of a mark.
	put := func(t *testing.T, signer gitserver.Signer, signed, stored string) *git.Snapshot {
		signature, err := signer.Sign([]byte(signed))
		require.NoError(t, err)
		text := strings.TrimSpace(string(signature))
		stored = strings.ReplaceAll(stored, "@SIG@", "gpgsig "+strings.ReplaceAll(text, "\n", "\n ")+"\n")
		hash, err := f.Object("commit", []byte(stored))
		require.NoError(t, err)
		f.setRef("refs/heads/odd", hash)
		return snapshot(t, f.remote(), git.Ref{Branch: "odd"})
	}
	keys := parseKeys(t, dev.PublicKey(), release.PublicKey())
	for _, signer := range []gitserver.Signer{dev, release} {
		for name, tt := range map[string]struct {
			signed, stored string
			want           error
		}{
			"plain":                  {base + "\nm\n", base + "@SIG@\nm\n", nil},
			"no message":             {base + "\n", base + "@SIG@\n", nil},
			"no newline at the end":  {base + "\nm", base + "@SIG@\nm", nil},
			"header before":          {base + "encoding x\n\nm\n", base + "encoding x\n@SIG@\nm\n", nil},
			"header after":           {base + "extra x\n\nm\n", base + "@SIG@extra x\n\nm\n", nil},
			"second hash":            {base + "\nm\n", base + "@SIG@gpgsig-sha256 abc\n def\n\nm\n", nil},
			"merged tag with lines":  {base + "mergetag object 1\n type x\n  gpgsig y\n\nm\n", base + "mergetag object 1\n type x\n  gpgsig y\n@SIG@\nm\n", nil},
			"signature in message":   {base + "\nm\n-----BEGIN PGP SIGNATURE-----\n", base + "@SIG@\nm\n-----BEGIN PGP SIGNATURE-----\n", nil},
			"message changed":        {base + "\nm\n", base + "@SIG@\nmm\n", git.ErrBadSignature},
			"header added":           {base + "\nm\n", base + "@SIG@encoding x\n\nm\n", git.ErrBadSignature},
			"header removed":         {base + "encoding x\n\nm\n", base + "@SIG@\nm\n", git.ErrBadSignature},
			"only the second hash's": {base + "\nm\n", base + "gpgsig-sha256 x\n\nm\n", git.ErrUnsigned},
		} {
			t.Run(fmt.Sprintf("%T %s", signer, name), func(t *testing.T) {
				_, err := put(t, signer, tt.signed, tt.stored).Verify(keys, git.ModeHead)
				if tt.want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, tt.want)
				}
			})
		}
	}
}

// A signature over SHA-1 is refused even though it is right. (These are by gpg:
// our library does not make such any more.)
func TestVerifyOpenPGPRefusesSHA1(t *testing.T) {
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		return data
	}
	keys := parseKeys(t, read("sha1.key.asc"))
	require.NoError(t, keys.CheckSignature([]byte("payload\n"), read("sha256.sig.asc")))
	err := keys.CheckSignature([]byte("payload\n"), read("sha1.sig.asc"))
	require.ErrorIs(t, err, git.ErrWeakSignature)
	require.ErrorContains(t, err, "SHA-1")
}

func TestVerifyAllowedSigners(t *testing.T) {
	f := newFixture(t)
	dev := sshSigner(t)
	made := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	_, err := f.Commit(t.Context(), files("a", "1"), gitserver.CommitOptions{Branch: "main", Signer: dev, Time: made})
	require.NoError(t, err)
	s := snapshot(t, f.remote(), git.Ref{})
	key := strings.TrimSuffix(string(dev.PublicKey()), " dev@example.com\n")

	for line, want := range map[string]error{
		"dev@example.com " + key:                                                         nil,
		"dev@example.com,other@example.com " + key + " comment":                          nil,
		`dev@example.com namespaces="git" ` + key:                                        nil,
		`dev@example.com namespaces="file,git" ` + key:                                   nil,
		`dev@example.com namespaces="*" ` + key:                                          nil,
		`dev@example.com namespaces="file" ` + key:                                       git.ErrUnknownKey,
		`dev@example.com valid-after="20250301" ` + key:                                  nil,
		`dev@example.com valid-after="20250302" ` + key:                                  git.ErrExpired,
		`dev@example.com valid-before="20250228235959" ` + key:                           git.ErrExpired,
		`dev@example.com valid-before="20250301" ` + key:                                 nil, // until then, as in OpenSSH
		`dev@example.com valid-before="202503010001Z" ` + key:                            nil,
		`dev@example.com namespaces="git",valid-before=20250228235959Z ` + key:           git.ErrExpired,
		`dev@example.com valid-before=20200101 ` + key + "\n" + `dev@example.com ` + key: nil,
		`dev@example.com ` + key + "\n" + `dev@example.com valid-before=20200101 ` + key: nil,
		"# comment\n\n" + key + " dev@example.com\r\n":                                   nil,
		"dev@example.com " + strings.Fields(string(sshSigner(t).PublicKey()))[0] + " " + strings.Fields(string(sshSigner(t).PublicKey()))[1]: git.ErrUnknownKey,
	} {
		keys, err := git.ParseKeys([]byte(line))
		require.NoError(t, err, line)
		v, err := s.Verify(keys, git.ModeHead)
		if want != nil {
			require.ErrorIs(t, err, want, line)
			continue
		}
		require.NoError(t, err, line)
		require.Contains(t, v.Signatures[0].Signer, "dev@example.com", line)
	}
}

func TestParseKeys(t *testing.T) {
	a, b := pgpSigner(t), pgpSigner(t)
	s1, s2 := sshSigner(t), sshSigner(t)
	// Several keys of several kinds in one file.
	all := bytes.Join([][]byte{[]byte("# ours"), a.PublicKey(), b.PublicKey(), s1.PublicKey(), s2.PublicKey()}, []byte("\n"))
	keys := parseKeys(t, all)
	require.Len(t, keys.Fingerprints(), 4)
	require.Len(t, parseKeys(t, a.PublicKey(), a.PublicKey()).Fingerprints(), 1)

	key := strings.TrimSpace(string(s1.PublicKey()))
	private, err := s1.PrivateKey()
	require.NoError(t, err)
	for name, tt := range map[string]struct{ file, text string }{
		"empty":                 {"", "no public key"},
		"comments":              {"# nothing\n", "no public key"},
		"private key":           {string(private), "private key"},
		"OpenPGP private key":   {"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "private key"},
		"half an OpenPGP key":   {string(a.PublicKey()[:200]), "without an end"},
		"broken OpenPGP key":    {strings.Replace(string(a.PublicKey()), "\n\n", "\n\n!!!!", 1), "OpenPGP key"},
		"text":                  {"hello world\n", "not supported"},
		"options in front":      {`command="x" ` + key, "without options"},
		"a CA by authorized":    {"cert-authority " + key, "without options"},
		"a CA with a value":     {"dev@example.com cert-authority=yes " + key, "not supported"},
		"an option twice":       {`dev@example.com namespaces="git",namespaces="*" ` + key, "twice"},
		"valid at no time":      {`dev@example.com valid-after="20260101",valid-before="20250101" ` + key, "no time"},
		"nobody":                {"!dev@example.com " + key, "exclude everyone"},
		"nobody of some":        {"dev@example.com,!*@example.com " + key, "exclude everyone"},
		"unknown option":        {"dev@example.com verify-required " + key, "not supported"},
		"bad time":              {"dev@example.com valid-after=tomorrow " + key, "not a time"},
		"not base64":            {"ssh-ed25519 !!!!", "base64"},
		"type and key disagree": {strings.Replace(key, "ssh-ed25519", "ssh-rsa", 1), "not supported"},
		"open quote":            {`dev@example.com namespaces="git ` + key, "quote"},
		"binary":                {"\x99\x01\x0d\x04", ""},
		"too large":             {strings.Repeat("#\n", 1<<20), "1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := git.ParseKeys(s2.PublicKey(), []byte(tt.file))
			require.ErrorIs(t, err, git.ErrInvalidKeys)
			require.ErrorContains(t, err, "key file 2 of 2")
			require.ErrorContains(t, err, tt.text)
			require.NotContains(t, err.Error(), "PRIVATE KEY-----")
		})
	}
	_, err = git.ParseKeys()
	require.ErrorIs(t, err, git.ErrInvalidKeys)
}
