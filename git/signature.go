package git

import (
	"bytes"
	"fmt"
	"strings"
)

// The lines that a signature begins with.
const (
	beginPGP        = "-----BEGIN PGP SIGNATURE-----"
	beginPGPMessage = "-----BEGIN PGP MESSAGE-----"
	beginSSH        = "-----BEGIN SSH SIGNATURE-----"
	beginX509       = "-----BEGIN SIGNED MESSAGE-----"
)

// splitCommit takes the bytes of a commit apart into the signature and what was
// signed: everything but the signature headers. Both are taken from the raw
// bytes, never from parsed fields, so that nothing can be verified that is not
// what is used.
func splitCommit(raw []byte) (payload, signature []byte, err error) {
	headers, body, err := splitHeader(raw)
	if err != nil {
		return nil, nil, err
	}
	if err := checkOrder(headers, commitFields); err != nil {
		return nil, nil, err
	}
	for _, h := range headers {
		if h.name == "gpgsig" {
			signature = []byte(h.value + "\n")
		}
	}
	// Git signs no header whose name begins with gpgsig.
	signed := withoutHeaders(raw, headers, func(name string) bool { return strings.HasPrefix(name, "gpgsig") })
	return append(signed, raw[body-1:]...), signature, nil
}

// splitTag does the same for a tag, whose signature is the end of its message.
func splitTag(raw []byte) (payload, signature []byte, err error) {
	headers, body, err := splitHeader(raw)
	if err != nil {
		return nil, nil, err
	}
	if err := checkOrder(headers, tagFields); err != nil {
		return nil, nil, err
	}
	at, n := findSignature(raw[body:])
	if n > 1 {
		return nil, nil, fmt.Errorf("%w: %d signatures in the message of a tag", ErrMalformed, n)
	}
	// Of a tag only these two are not signed.
	payload = withoutHeaders(raw, headers, func(name string) bool { return name == "gpgsig" || name == "gpgsig-sha256" })
	payload = append(payload, raw[body-1:body+at]...)
	return payload, raw[body+at:], nil
}

// withoutHeaders returns the lines of the header but for some. The empty line
// after them is not in it.
func withoutHeaders(raw []byte, headers []header, leave func(name string) bool) []byte {
	kept := make([]byte, 0, len(raw))
	for _, h := range headers {
		if !leave(h.name) {
			kept = append(kept, raw[h.begin:h.end]...)
		}
	}
	return kept
}

// findSignature returns where the last signature in a message begins, which is
// its end if there is none, and how many begin in it.
func findSignature(message []byte) (at, n int) {
	at = len(message)
	for pos := 0; pos < len(message); {
		if signatureFormat(message[pos:]) != "" {
			at = pos
			n++
		}
		end := bytes.IndexByte(message[pos:], '\n')
		if end < 0 {
			break
		}
		pos += end + 1
	}
	return at, n
}

// signatureFormat tells signatures apart: openpgp, ssh or x509; empty if it is
// none of them.
func signatureFormat(signature []byte) string {
	for begin, format := range map[string]string{
		beginPGP: "openpgp", beginPGPMessage: "openpgp", beginSSH: "ssh", beginX509: "x509",
	} {
		if bytes.HasPrefix(signature, []byte(begin)) {
			return format
		}
	}
	return ""
}
