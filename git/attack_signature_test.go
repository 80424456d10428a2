package git_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

// asHeader makes a header of a commit of a signature.
func asHeader(name, signature string) string {
	return name + " " + strings.ReplaceAll(strings.TrimSpace(signature), "\n", "\n ") + "\n"
}

// verifyObject fetches what a reference to an object gives, and verifies it. An
// error of either is the answer.
func verifyObject(t *testing.T, f *fixture, kind, raw string, keys *git.Keys) error {
	t.Helper()
	hash, err := f.Object(kind, []byte(raw))
	require.NoError(t, err)
	ref, mode := git.Ref{Tag: "v1"}, git.ModeTag
	if kind == "commit" {
		ref, mode = git.Ref{Name: "refs/attack"}, git.ModeHead
		f.setRef("refs/attack", hash)
	} else {
		f.setRef("refs/tags/v1", hash)
	}
	r := f.remote()
	rev, err := r.Resolve(t.Context(), ref)
	require.NoError(t, err)
	s, err := r.Fetch(t.Context(), rev, git.FetchOptions{})
	if err == nil {
		_, err = s.Verify(keys, mode)
	}
	return err
}

// A signature counts at its own place, over its own object, and nowhere else.
func TestAttackSignatureConfusion(t *testing.T) {
	f := newFixture(t)
	release, dev, mallory := pgpSigner(t), sshSigner(t), sshSigner(t)
	keys := parseKeys(t, release.PublicKey(), dev.PublicKey())
	tree, err := f.Tree(files("a", "1"))
	require.NoError(t, err)
	const who = "A <a@example.com> 1700000000 +0000"
	header := "tree " + tree + "\nauthor " + who + "\ncommitter " + who + "\n"
	commit, err := f.Object("commit", []byte(header+"\nm\n"))
	require.NoError(t, err)
	tag := "object " + commit + "\ntype commit\ntag v1\ntagger " + who + "\n\nm\n"
	sign := func(signer gitserver.Signer, payload string) string {
		signature, err := signer.Sign([]byte(payload))
		require.NoError(t, err)
		return string(signature)
	}

	for _, signer := range []gitserver.Signer{release, dev} {
		ofCommit, ofTag := sign(signer, header+"\nm\n"), sign(signer, tag)
		byMallory := sign(mallory, tag)
		require.NoError(t, verifyObject(t, f, "commit", header+asHeader("gpgsig", ofCommit)+"\nm\n", keys), "the honest one")
		require.NoError(t, verifyObject(t, f, "tag", tag+ofTag, keys), "the honest one")
		tagWith := func(line string) string { return strings.Replace(tag, "\n\n", "\n"+line+"\n", 1) }

		_, _, err := git.ParseTag([]byte(header + "\nm\n" + ofCommit))
		require.ErrorIs(t, err, git.ErrMalformed, "a commit as a tag")
		_, err = git.ParseCommit([]byte(strings.Replace(tag, "\n\n", "\n"+asHeader("gpgsig", ofTag)+"\n", 1)))
		require.ErrorIs(t, err, git.ErrMalformed, "a tag as a commit")

		for name, tt := range map[string]struct {
			kind, raw string
			want      error // nil: any
		}{
			"removed from a commit":                {"commit", header + "\nm\n", git.ErrUnsigned},
			"in the message of a commit":           {"commit", header + "\nm\n" + ofCommit, git.ErrUnsigned},
			"moved to another commit":              {"commit", header + asHeader("gpgsig", ofCommit) + "\nevil\n", git.ErrBadSignature},
			"of a tag on a commit":                 {"commit", header + asHeader("gpgsig", ofTag) + "\nm\n", git.ErrBadSignature},
			"in a header like it":                  {"commit", header + asHeader("gpgsig-foo", ofCommit) + "\nm\n", git.ErrUnsigned},
			"of the other hash":                    {"commit", header + asHeader("gpgsig-sha256", ofCommit) + "\nm\n", git.ErrUnsigned},
			"in a merged tag":                      {"commit", header + asHeader("mergetag", tag+ofTag) + "\nm\n", git.ErrUnsigned},
			"of a merged tag as the commit's":      {"commit", header + asHeader("mergetag", tag+ofTag) + asHeader("gpgsig", ofTag) + "\nm\n", git.ErrBadSignature},
			"second header":                        {"commit", header + asHeader("gpgsig", ofCommit) + asHeader("gpgsig", ofCommit) + "\nm\n", nil},
			"two in one header":                    {"commit", header + asHeader("gpgsig", ofCommit+ofCommit) + "\nm\n", git.ErrBadSignature},
			"text behind it in the header":         {"commit", header + asHeader("gpgsig", ofCommit+"more\n") + "\nm\n", git.ErrBadSignature},
			"NUL in a commit":                      {"commit", header + "x \x00\n" + asHeader("gpgsig", ofCommit) + "\nm\n", nil},
			"second tree":                          {"commit", header + "tree " + tree + "\n" + asHeader("gpgsig", ofCommit) + "\nm\n", nil},
			"removed from a tag":                   {"tag", tag, git.ErrUnsigned},
			"of a commit on a tag":                 {"tag", tag + ofCommit, git.ErrBadSignature},
			"in the header of a tag":               {"tag", tagWith(asHeader("gpgsig", ofTag)), git.ErrUnsigned},
			"header like a signature in a tag":     {"tag", tagWith("gpgsig-foo x\n") + ofTag, git.ErrBadSignature},
			"second object":                        {"tag", tagWith("object "+commit+"\n") + ofTag, nil},
			"second name":                          {"tag", tagWith("tag v2\n") + ofTag, nil},
			"NUL in a tag":                         {"tag", tagWith("x \x00\n") + ofTag, nil},
			"another's behind it":                  {"tag", tag + ofTag + byMallory, git.ErrBadSignature},
			"another's before it":                  {"tag", tag + byMallory + ofTag, git.ErrBadSignature},
			"twice":                                {"tag", tag + ofTag + ofTag, git.ErrBadSignature},
			"text behind it":                       {"tag", tag + ofTag + "more\n", git.ErrBadSignature},
			"text between":                         {"tag", tag + "more\n" + ofTag, git.ErrBadSignature},
			"another's behind one that is not":     {"tag", tag + "-----BEGIN PGP SIGNATURE-----\n" + byMallory, git.ErrBadSignature},
			"a message that is signed, as a whole": {"tag", tag + strings.ReplaceAll(ofTag, "SIGNATURE", "MESSAGE"), nil},
			"of another tag name": {"tag", strings.Replace(tag, "tag v1", "tag v2", 1) +
				sign(signer, strings.Replace(tag, "tag v1", "tag v2", 1)), git.ErrTagName},
		} {
			t.Run(name, func(t *testing.T) {
				err := verifyObject(t, f, tt.kind, tt.raw, keys)
				require.Error(t, err)
				if tt.want != nil {
					require.ErrorIs(t, err, tt.want)
				}
			})
		}
	}
}

// signingFor shows one key and signs with another.
type signingFor struct {
	ssh.Signer
	shown ssh.PublicKey
}

func (s signingFor) PublicKey() ssh.PublicKey { return s.shown }

// A certificate is worth what its authority said, if that is trusted to say it.
func TestAttackSSHCertificate(t *testing.T) {
	f := newFixture(t)
	ca, dev, mallory := newEd25519(t), newEd25519(t), newEd25519(t)
	line := func(front string, key ssh.Signer) string { return front + " " + keyText(key.PublicKey()) }
	const authority = "*@example.com cert-authority"
	trusted := line(authority, ca)
	check := func(t *testing.T, signer gitserver.Signer, keys ...string) error {
		t.Helper()
		f.commit("main", files("a", "1"), signer)
		_, err := verifyWith(t, snapshot(t, f.remote(), git.Ref{}), keys, git.ModeHead)
		return err
	}
	good := certify(t, ca, dev, nil)
	require.NoError(t, check(t, good, trusted), "the honest one")

	certificate := func(ca ssh.Signer, change func(*ssh.Certificate)) *ssh.Certificate {
		return certify(t, ca, mallory, change).Key().(*ssh.Certificate)
	}
	show := func(cert *ssh.Certificate) gitserver.Signer {
		return gitserver.SSHSignerOf(signingFor{mallory, cert}, "")
	}
	// Mallory's own signature below the name of the authority.
	forged := certificate(mallory, nil)
	forged.SignatureKey, forged.Signature = ca.PublicKey(), nil
	unsigned := forged.Marshal()
	var err error
	forged.Signature, err = mallory.Sign(rand.Reader, unsigned[:len(unsigned)-4])
	require.NoError(t, err)
	promoted := certificate(ca, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"guest@example.org"} })
	promoted.ValidPrincipals = []string{"dev@example.com"}
	prolonged := certificate(ca, func(c *ssh.Certificate) { c.ValidBefore = c.ValidAfter + 1 })
	prolonged.ValidBefore = ssh.CertTimeInfinity
	swapped := certify(t, ca, dev, nil).Key().(*ssh.Certificate)
	swapped.Key = mallory.PublicKey()
	asUser := certificate(ca, func(c *ssh.Certificate) { c.CertType = ssh.HostCert })
	asUser.CertType = ssh.UserCert

	for name, tt := range map[string]struct {
		signer gitserver.Signer
		keys   []string
		want   error
	}{
		"a host's":                          {certify(t, ca, dev, func(c *ssh.Certificate) { c.CertType = ssh.HostCert }), []string{trusted}, git.ErrUnknownKey},
		"of an unknown type":                {certify(t, ca, dev, func(c *ssh.Certificate) { c.CertType = 7 }), []string{trusted}, git.ErrUnknownKey},
		"a host's as a user's":              {show(asUser), []string{trusted}, git.ErrBadSignature},
		"forged":                            {show(forged), []string{trusted}, git.ErrBadSignature},
		"principals changed":                {show(promoted), []string{trusted}, git.ErrBadSignature},
		"validity changed":                  {show(prolonged), []string{trusted}, git.ErrBadSignature},
		"key changed":                       {show(swapped), []string{trusted}, git.ErrBadSignature},
		"of someone else":                   {show(good.Key().(*ssh.Certificate)), []string{trusted}, git.ErrBadSignature},
		"expired when it signed":            {certify(t, ca, dev, func(c *ssh.Certificate) { c.ValidBefore = c.ValidAfter + 1 }), []string{trusted}, git.ErrExpired},
		"for ever and ever":                 {certify(t, ca, dev, func(c *ssh.Certificate) { c.ValidAfter = 1 << 63 }), []string{trusted}, git.ErrExpired},
		"by a key that is not an authority": {certify(t, dev, mallory, nil), []string{line("dev@example.com", dev)}, git.ErrUnknownKey},
		"by an authorized key":              {certify(t, dev, mallory, nil), []string{keyText(dev.PublicKey())}, git.ErrUnknownKey},
		"by itself":                         {certify(t, dev, dev, nil), []string{line("dev@example.com", dev)}, git.ErrUnknownKey},
		"of a key that is trusted":          {certify(t, mallory, dev, nil), []string{line("dev@example.com", dev)}, git.ErrUnknownKey},
		"signed by the authority itself":    {gitserver.SSHSignerOf(ca, ""), []string{trusted}, git.ErrUnknownKey},
		"of the authority itself":           {certify(t, mallory, ca, nil), []string{trusted}, git.ErrUnknownKey},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, check(t, tt.signer, tt.keys...), tt.want) })
	}
	t.Run("no text of its own in errors and answers", func(t *testing.T) {
		odd := certify(t, ca, dev, func(c *ssh.Certificate) {
			c.KeyId, c.ValidPrincipals = "x\nforged line", []string{"a\x1b[2J\n@example.com"}
		})
		f.commit("main", files("a", "1"), odd)
		v, err := verifyWith(t, snapshot(t, f.remote(), git.Ref{}), []string{trusted}, git.ModeHead)
		require.NoError(t, err)
		require.NotContains(t, v.Signatures[0].String()+v.Signatures[0].Signer+v.Signatures[0].KeyID, "\n")
		require.NotContains(t, v.Signatures[0].Signer, "\x1b")
	})
}

// Whoever says to be a key must have it.
func TestAttackOpenPGPIssuer(t *testing.T) {
	trusted, mallory := pgpEntity(t, 2*day, packet.Config{}), pgpEntity(t, 2*day, packet.Config{})
	keys := parseKeys(t, []byte(pgpPublic(t, trusted)))
	payload := []byte("payload\n")
	good, err := pgpSignature(trusted.PrivateKey, hour, nil)(payload)
	require.NoError(t, err)
	require.NoError(t, keys.CheckSignature(payload, good))
	bad, err := pgpSignature(mallory.PrivateKey, hour, nil)(payload)
	require.NoError(t, err)

	// Mallory's key, by the name of the trusted one.
	liar := *mallory.PrivateKey
	liar.KeyId, liar.Fingerprint = trusted.PrimaryKey.KeyId, trusted.PrimaryKey.Fingerprint
	lie, err := pgpSignature(&liar, hour, nil)(payload)
	require.NoError(t, err)
	pack := func(parts ...func(io.Writer) error) []byte {
		text, err := armored(openpgp.SignatureType, parts...)
		require.NoError(t, err)
		return text
	}
	unknownPacket := func(w io.Writer) error { _, err := w.Write([]byte{0xc0 | 60, 1, 0}); return err }
	cutShort := func(w io.Writer) error {
		var b bytes.Buffer
		if err := unarmored(t, good)(&b); err != nil {
			return err
		}
		_, err := w.Write(b.Bytes()[:b.Len()-1])
		return err
	}
	for name, tt := range map[string]struct {
		signature []byte
		want      error
	}{
		"by another's name":         {lie, git.ErrBadSignature},
		"two, the bad one first":    {pack(unarmored(t, bad), unarmored(t, good)), git.ErrBadSignature},
		"two, the good one first":   {pack(unarmored(t, good), unarmored(t, bad)), git.ErrBadSignature},
		"an unknown packet before":  {pack(unknownPacket, unarmored(t, good)), git.ErrBadSignature},
		"an unknown packet behind":  {pack(unarmored(t, good), unknownPacket), git.ErrBadSignature},
		"another beginning":         {append([]byte("-----BEGIN PGP SIGNATURE-----\nnothing\n"), good...), git.ErrBadSignature},
		"another end":               {append(bytes.Clone(good), "more\n-----END PGP SIGNATURE-----\n"...), git.ErrBadSignature},
		"cut short":                 {pack(cutShort), git.ErrBadSignature},
		"nothing inside":            {pack(), git.ErrBadSignature},
		"a public key":              {[]byte(pgpPublic(t, trusted)), git.ErrUnsupportedSignature},
		"a public key as signature": {[]byte(strings.ReplaceAll(pgpPublic(t, trusted), "PUBLIC KEY BLOCK", "SIGNATURE")), git.ErrBadSignature},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, keys.CheckSignature(payload, tt.signature), tt.want) })
	}
}

// A pattern that a regular expression would take for ever with.
func TestAttackSlowPattern(t *testing.T) {
	start := time.Now()
	require.False(t, git.MatchPattern(strings.Repeat("*a", 500)+"b", strings.Repeat("a", 5000)))
	require.Less(t, time.Since(start), time.Minute)
}
