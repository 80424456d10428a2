package receive

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // platforms still sign with it, and HMAC-SHA1 is not broken
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
)

// only returns the value of a header that is there once. Of two that differ, a proxy
// before us may have looked at the other one.
func only(h http.Header, name string) (string, error) {
	values := h.Values(name)
	switch {
	case len(values) == 0 || values[0] == "":
		return "", unauthenticated("%s is missing", name)
	case len(values) > 1:
		return "", unauthenticated("%s is there more than once", name)
	}
	return values[0], nil
}

// knowsPath is all that some platforms offer: who found the path knows the token.
func knowsPath(context.Context, *Handler, *compiled, http.Header, []byte) (map[string]any, error) {
	return nil, nil
}

// tokenIn checks a token that is sent as it is. Digests are compared, so that not
// even its length shows.
func tokenIn(name string) func(context.Context, *Handler, *compiled, http.Header, []byte) (map[string]any, error) {
	return func(_ context.Context, h *Handler, c *compiled, header http.Header, _ []byte) (map[string]any, error) {
		got, err := only(header, name)
		d := h.digest([]byte(got))
		switch {
		case err != nil:
			return nil, err
		case !hmac.Equal(d[:], c.token[:]):
			return nil, unauthenticated("%s does not match", name)
		}
		return nil, nil
	}
}

// algorithm returns the hash of a signature's name.
func algorithm(name string) func() hash.Hash {
	switch name {
	case "sha1":
		return sha1.New
	case "sha224":
		return sha256.New224
	case "sha256":
		return sha256.New
	case "sha384":
		return sha512.New384
	case "sha512":
		return sha512.New
	}
	return nil
}

// checkMAC compares a signature in hexadecimal digits. The MAC is computed first,
// whatever the signature looks like.
func checkMAC(algo string, secret, body []byte, header, signature string) error {
	newHash := algorithm(algo)
	if newHash == nil {
		newHash = sha256.New
		signature = ""
	}
	mac := hmac.New(newHash, secret)
	mac.Write(body)
	got, err := hex.DecodeString(signature)
	if !hmac.Equal(mac.Sum(nil), got) || err != nil {
		return unauthenticated("%s does not match", header)
	}
	return nil
}

// checkHeader checks a signature as "algo=digits", where the algorithm is one that
// is allowed.
func checkHeader(c *compiled, header http.Header, body []byte, name string, allowed ...string) error {
	value, missing := only(header, name)
	algo, signature, _ := strings.Cut(value, "=")
	ok := false
	for _, a := range allowed {
		ok = ok || a == algo
	}
	if !ok {
		algo = ""
	}
	if err := checkMAC(algo, c.Secret, body, name, signature); err != nil {
		if missing != nil {
			return missing
		}
		return err
	}
	return missing
}

// signedLikeGitHub takes the first of the headers that is there, so that a weak one
// is no way around a strong one.
func signedLikeGitHub(_ context.Context, _ *Handler, c *compiled, header http.Header, body []byte) (map[string]any, error) {
	for _, own := range []string{"X-Forgejo-Signature", "X-Gitea-Signature"} {
		if len(header.Values(own)) == 0 || len(header.Values("X-Hub-Signature-256")) > 0 {
			continue
		}
		value, err := only(header, own)
		if err := checkMAC("sha256", c.Secret, body, own, value); err != nil {
			return nil, err
		}
		return nil, err
	}
	if c.AllowSHA1 && len(header.Values("X-Hub-Signature-256")) == 0 {
		return nil, checkHeader(c, header, body, "X-Hub-Signature", "sha1")
	}
	return nil, checkHeader(c, header, body, "X-Hub-Signature-256", "sha256")
}

func signedLikeBitbucket(_ context.Context, _ *Handler, c *compiled, header http.Header, body []byte) (map[string]any, error) {
	return nil, checkHeader(c, header, body, "X-Hub-Signature", "sha256")
}

func signedGeneric(_ context.Context, _ *Handler, c *compiled, header http.Header, body []byte) (map[string]any, error) {
	return nil, checkHeader(c, header, body, "X-Signature", "sha1", "sha224", "sha256", "sha384", "sha512")
}

func signedLikeNexus(_ context.Context, _ *Handler, c *compiled, header http.Header, body []byte) (map[string]any, error) {
	const name = "X-Nexus-Webhook-Signature"
	value, missing := only(header, name)
	if err := checkMAC("sha1", c.Secret, body, name, value); err != nil && missing == nil {
		return nil, err
	}
	return nil, missing
}
