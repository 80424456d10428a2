package git

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// sshKey is a line of an authorized_keys or allowed_signers file.
type sshKey struct {
	key ssh.PublicKey
	// ca: the key certifies others, and signs nothing itself.
	ca bool
	// principals are patterns; nil: the line is of an authorized_keys file.
	principals []string
	comment    string
	// namespaces that it may sign for, as patterns; nil: all.
	namespaces    []string
	after, before time.Time // zero: no bound
}

// parseSSHKey reads a line of an authorized_keys or an allowed_signers file.
// What tells them apart is whether the type of the key comes first.
func parseSSHKey(line string) (sshKey, error) {
	fields, err := splitFields(line)
	if err != nil {
		return sshKey{}, err
	}
	if isKeyType(fields[0]) {
		key, comment, err := decodeSSHKey(fields)
		return sshKey{key: key, comment: comment}, err
	}
	var k sshKey
	if err := k.parsePrincipals(fields[0]); err != nil {
		return sshKey{}, err
	}
	fields = fields[1:]
	if len(fields) > 0 && !isKeyType(fields[0]) {
		if err := k.parseOptions(fields[0]); err != nil {
			return sshKey{}, err
		}
		fields = fields[1:]
	}
	k.key, k.comment, err = decodeSSHKey(fields)
	return k, err
}

// isKeyType says whether a field looks like the type of a key.
func isKeyType(s string) bool {
	return strings.HasPrefix(s, "ssh-") || strings.HasPrefix(s, "ecdsa-sha2-") || strings.HasPrefix(s, "sk-")
}

// decodeSSHKey reads type, key and comment.
func decodeSSHKey(fields []string) (ssh.PublicKey, string, error) {
	if len(fields) < 2 || !isKeyType(fields[0]) {
		return nil, "", errors.New("neither an armored OpenPGP public key nor an SSH public key of a known type")
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil {
		return nil, "", errors.New("the SSH key is not in base64")
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return nil, "", errors.New("the SSH key is malformed, or of an unsupported type")
	}
	if _, isCert := key.(*ssh.Certificate); isCert || key.Type() != fields[0] || !supportedSSHKey(key) {
		return nil, "", fmt.Errorf("an SSH key of type %q is not supported for signatures", clip(fields[0]))
	}
	return key, strings.Join(fields[2:], " "), nil
}

func (k *sshKey) parsePrincipals(field string) error {
	text := strings.Trim(field, `"`)
	if text == "" || strings.ContainsAny(text, `="`) || text == "cert-authority" {
		return errors.New("neither \"type key comment\", without options, nor \"principals options type key\"")
	}
	k.principals = strings.Split(text, ",")
	if k.names() == nil {
		return errors.New("its principals exclude everyone")
	}
	return nil
}

// parseOptions reads the options of an allowed signer. One that is not
// understood is an error: it may be a restriction.
func (k *sshKey) parseOptions(text string) error {
	seen := map[string]bool{}
	for _, option := range splitOutside(text, ',') {
		name, value, has := strings.Cut(option, "=")
		value = strings.Trim(value, `"`)
		var err error
		switch name = strings.ToLower(name); {
		case seen[name]:
			err = errors.New("it is there twice")
		case name == "cert-authority" && !has:
			k.ca = true
		case name == "namespaces" && has:
			k.namespaces = strings.Split(value, ",")
		case name == "valid-after" && has:
			k.after, err = parseSSHTime(value)
		case name == "valid-before" && has:
			k.before, err = parseSSHTime(value)
		default:
			return fmt.Errorf("option %q is not supported; cert-authority, namespaces, valid-after and valid-before are", clip(name))
		}
		if err != nil {
			return fmt.Errorf("option %s: %w", name, err)
		}
		seen[name] = true
	}
	if !k.after.IsZero() && !k.before.IsZero() && !k.after.Before(k.before) {
		return errors.New("it is valid at no time: valid-before is not later than valid-after")
	}
	return nil
}

func parseSSHTime(s string) (time.Time, error) {
	digits := strings.ToUpper(s)
	digits = strings.TrimSuffix(strings.TrimSuffix(digits, "UTC"), "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) == len(layout) {
			if t, err := time.Parse(layout, digits); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 20260131 or 20260131235959Z", clip(s))
}

// names are the principals that the line allows, as patterns: those that are
// not excluded by another.
func (k sshKey) names() []string {
	var names []string
	for _, p := range k.principals {
		if p != "" && p[0] != '!' && matchPatterns(k.principals, p) {
			names = append(names, p)
		}
	}
	return names
}

// fact is what the line says, in one form.
func (k sshKey) fact() string {
	sorted := func(patterns []string) []string {
		return slices.Compact(slices.Sorted(slices.Values(patterns)))
	}
	return fmt.Sprintf("ssh %x ca=%t principals=%q namespaces=%t%q after=%d before=%d", k.key.Marshal(), k.ca,
		sorted(k.principals), k.namespaces != nil, sorted(k.namespaces), k.after.Unix(), k.before.Unix())
}

// matchPatterns is how OpenSSH matches a list: one pattern must match, and none
// that begins with ! may.
func matchPatterns(patterns []string, s string) bool {
	found := false
	for _, pattern := range patterns {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if !matchPattern(pattern, s) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// matchPattern matches * with any text and ? with any byte. It goes back to the
// last * only, so that no pattern takes long.
func matchPattern(pattern, s string) bool {
	star, from := -1, 0 // the last * and where its text ends
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// splitFields splits a line at blanks outside of quotes.
func splitFields(line string) ([]string, error) {
	if strings.Count(line, `"`)%2 != 0 {
		return nil, errors.New("a quote is left open")
	}
	fields := splitOutside(strings.ReplaceAll(line, "\t", " "), ' ')
	return slices.DeleteFunc(fields, func(f string) bool { return f == "" }), nil
}

// splitOutside splits at a separator outside of quotes.
func splitOutside(s string, separator byte) []string {
	var parts []string
	quoted, from := false, 0
	for i := range len(s) {
		switch s[i] {
		case '"':
			quoted = !quoted
		case separator:
			if !quoted {
				parts = append(parts, s[from:i])
				from = i + 1
			}
		}
	}
	return append(parts, s[from:])
}
