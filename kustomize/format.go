package kustomize

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
)

// Format says how an encrypted file is written.
type Format string

// The formats that SOPS writes.
const (
	FormatYAML   Format = "yaml"
	FormatJSON   Format = "json"
	FormatDotenv Format = "dotenv"
	FormatINI    Format = "ini"
	FormatBinary Format = "binary" // JSON around what has no format that SOPS knows
)

// cipherText is how each encrypted value begins; there is at least the checksum.
const cipherText = "ENC[AES256_GCM,"

var (
	sealedYAML   = regexp.MustCompile(`(?m)^["']?sops["']?:[ \t]*\r?$`)
	sealedDotenv = regexp.MustCompile(`(?m)^sops_mac=`)
	sealedINI    = regexp.MustCompile(`(?m)^\[sops\][ \t]*\r?$`)
)

// sealedAs reports whether content was encrypted with SOPS, and how it is written.
// The name helps to tell JSON from what is only wrapped in it.
func sealedAs(name string, data []byte) (Format, bool) {
	if !bytes.Contains(data, []byte(cipherText)) {
		return "", false
	}
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")):
		return sealedJSON(name, data)
	case sealedYAML.Match(data):
		return FormatYAML, true
	case sealedDotenv.Match(data):
		return FormatDotenv, true
	case sealedINI.Match(data):
		return FormatINI, true
	}
	return "", false
}

func sealedJSON(name string, data []byte) (Format, bool) {
	var fields map[string]json.RawMessage
	var sops struct {
		MAC string `json:"mac"`
	}
	if json.Unmarshal(data, &fields) != nil || json.Unmarshal(fields["sops"], &sops) != nil || sops.MAC == "" {
		return "", false
	}
	_, wrapped := fields["data"]
	if wrapped && len(fields) == 2 && path.Ext(name) != ".json" {
		return FormatBinary, true
	}
	return FormatJSON, true
}
