package post

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// Signature is what tells a receiver who knows the key that a body is genuine:
// "sha256=" and the HMAC-SHA256 of the body in hexadecimal.
func Signature(key, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(body) // a hash's Write does not fail
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
