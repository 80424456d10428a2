package kustomize

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// sopsMeta is what SOPS writes about a file, as far as age needs it.
type sopsMeta struct {
	Age               []ageRecipient `yaml:"age"`
	KeyGroups         []keyGroup     `yaml:"key_groups"`
	LastModified      string         `yaml:"lastmodified"`
	MAC               string         `yaml:"mac"`
	MACOnlyEncrypted  bool           `yaml:"mac_only_encrypted"`
	UnencryptedSuffix string         `yaml:"unencrypted_suffix"`
	EncryptedSuffix   string         `yaml:"encrypted_suffix"`
	UnencryptedRegex  string         `yaml:"unencrypted_regex"`
	EncryptedRegex    string         `yaml:"encrypted_regex"`
	ByComment         string         `yaml:"unencrypted_comment_regex"`
	ByComment2        string         `yaml:"encrypted_comment_regex"`
}

type keyGroup struct {
	Age []ageRecipient `yaml:"age"`
}

type ageRecipient struct {
	Recipient string `yaml:"recipient"`
	Enc       string `yaml:"enc"`
}

// sealedFile is an encrypted file: documents without SOPS's own entries, and these.
type sealedFile struct {
	docs []*yaml.Node
	meta sopsMeta

	key       cipher.Block
	mac       hash.Hash
	encrypted func(path []string) bool
}

// deepest bounds the nesting of an encrypted file, as Limits.Depth does by default
// for all others.
const deepest = 500

// open decrypts all values and checks that none was changed, moved or left out.
func (f *sealedFile) open(key []byte) (err error) {
	if f.key, err = aes.NewCipher(key); err != nil {
		return errors.New("its key does not have the right length")
	}
	if f.encrypted, err = f.meta.selector(); err != nil {
		return err
	}
	f.mac = sha512.New()
	if f.meta.MACOnlyEncrypted {
		// Keeps this kind of checksum apart from the other.
		start := sha256.Sum256([]byte("sops"))
		f.mac.Write(start[:])
	}
	for _, doc := range f.docs {
		if err := f.walk(doc, nil, 0); err != nil {
			return err
		}
	}
	modified, err := time.Parse(time.RFC3339, f.meta.LastModified)
	if err != nil {
		return errors.New("sops.lastmodified is not a time")
	}
	sum, _, err := f.decrypt(f.meta.MAC, modified.Format(time.RFC3339))
	if err != nil || subtle.ConstantTimeCompare(sum, fmt.Appendf(nil, "%X", f.mac.Sum(nil))) != 1 {
		return errors.New("its checksum is not right: somebody changed it after it was encrypted; edit it with sops")
	}
	return nil
}

// selector says which values are encrypted, by the keys on the way to them.
func (m sopsMeta) selector() (func(path []string) bool, error) {
	if m.ByComment != "" || m.ByComment2 != "" {
		return nil, errors.New("comments say what is encrypted in it, which this decrypter does not read: use the module kustomize/sops")
	}
	rule := func(match func(string) bool, want bool) func([]string) bool {
		return func(path []string) bool {
			for _, key := range path {
				if match(key) {
					return want
				}
			}
			return !want
		}
	}
	suffix := func(s string) func(string) bool {
		return func(key string) bool { return strings.HasSuffix(key, s) }
	}
	switch {
	case m.EncryptedSuffix != "":
		return rule(suffix(m.EncryptedSuffix), true), nil
	case m.EncryptedRegex != "" || m.UnencryptedRegex != "":
		re, err := regexp.Compile(m.EncryptedRegex + m.UnencryptedRegex)
		if err != nil || m.EncryptedRegex != "" && m.UnencryptedRegex != "" {
			return nil, errors.New("it does not say in a valid way which values are encrypted")
		}
		return rule(re.MatchString, m.EncryptedRegex != ""), nil
	case m.UnencryptedSuffix != "":
		return rule(suffix(m.UnencryptedSuffix), false), nil
	}
	return rule(suffix("_unencrypted"), false), nil
}

func (f *sealedFile) walk(n *yaml.Node, path []string, depth int) error {
	if depth > deepest {
		return fmt.Errorf("it is nested deeper than %d", deepest)
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			// The path of one value is not written to by the next.
			if err := f.walk(n.Content[i+1], append(path[:len(path):len(path)], n.Content[i].Value), depth+1); err != nil {
				return err
			}
			if isComment(n.Content[i+1]) {
				return errors.New("it has a comment where a value should be")
			}
		}
	case yaml.DocumentNode, yaml.SequenceNode:
		for _, child := range n.Content {
			if err := f.walk(child, path, depth+1); err != nil {
				return err
			}
		}
		// SOPS makes values of encrypted comments between the values of a list.
		n.Content = slices.DeleteFunc(n.Content, isComment)
	case yaml.ScalarNode:
		return f.leaf(n, path)
	default:
		return errors.New("it has an alias, which this decrypter does not read: use the module kustomize/sops")
	}
	return nil
}

// leaf decrypts a value, and adds what it was to the checksum.
func (f *sealedFile) leaf(n *yaml.Node, path []string) error {
	if n.ShortTag() == yaml.NodeTagNull {
		return nil // is neither encrypted nor in the checksum
	}
	sealed := f.encrypted(path)
	if sealed {
		text, kind, err := f.decrypt(n.Value, strings.Join(path, ":")+":")
		if err != nil {
			return fmt.Errorf("%s: %w", quote(strings.Join(path, ".")), err)
		}
		if err := setValue(n, text, kind); err != nil {
			return fmt.Errorf("%s: %w", quote(strings.Join(path, ".")), err)
		}
	}
	if (sealed || !f.meta.MACOnlyEncrypted) && !isComment(n) {
		text, err := canonical(n)
		if err != nil {
			return fmt.Errorf("%s: %w", quote(strings.Join(path, ".")), err)
		}
		f.mac.Write(text)
	}
	return nil
}

var sealedValue = regexp.MustCompile(`^ENC\[AES256_GCM,data:([^,]*),iv:([^,]+),tag:([^,]+),type:([a-z]+)\]$`)

// decrypt opens one value. What it is bound to keeps values from being moved.
func (f *sealedFile) decrypt(value, boundTo string) (text []byte, kind string, err error) {
	if value == "" {
		return nil, "str", nil // is not encrypted
	}
	m := sealedValue.FindStringSubmatch(value)
	if m == nil {
		return nil, "", errors.New("the value should be encrypted, and is not")
	}
	var parts [3][]byte
	for i := range parts {
		if parts[i], err = base64.StdEncoding.DecodeString(m[i+1]); err != nil {
			return nil, "", errors.New("the encrypted value is damaged")
		}
	}
	const longestIV = 64
	if len(parts[1]) > longestIV || len(parts[2]) != aes.BlockSize {
		return nil, "", errors.New("the encrypted value is damaged")
	}
	gcm, err := cipher.NewGCMWithNonceSize(f.key, len(parts[1]))
	if err != nil {
		return nil, "", errors.New("the encrypted value is damaged")
	}
	text, err = gcm.Open(nil, parts[1], append(parts[0], parts[2]...), []byte(boundTo))
	if err != nil {
		return nil, "", errors.New("the encrypted value was changed or moved, or it was encrypted with another key")
	}
	return text, m[4], nil
}

// setValue puts a decrypted value into its node.
func setValue(n *yaml.Node, text []byte, kind string) error {
	var value any = string(text)
	var err error
	switch kind {
	case "str", "bytes":
	case "comment":
		n.Tag = commentTag
		return nil
	case "int":
		value, err = strconv.Atoi(string(text))
	case "float":
		value, err = strconv.ParseFloat(string(text), 64)
	case "bool":
		value, err = strconv.ParseBool(string(text))
	case "time":
		var t time.Time
		err = t.UnmarshalText(text)
		value = t
	default:
		err = errors.New("unknown")
	}
	var plain yaml.Node
	if err != nil || plain.Encode(value) != nil {
		return fmt.Errorf("the encrypted value is no %s", quote(kind)) // the cause would show it
	}
	n.Tag, n.Value, n.Style = plain.Tag, plain.Value, plain.Style
	return nil
}

// commentTag marks a value that is a comment.
const commentTag = "!comment"

func isComment(n *yaml.Node) bool { return n.Tag == commentTag }

// canonical is how a value goes into the checksum.
func canonical(n *yaml.Node) ([]byte, error) {
	var value any
	if err := n.Decode(&value); err != nil {
		return nil, errors.New("the value cannot be read")
	}
	switch value := value.(type) {
	case string:
		return []byte(value), nil
	case int:
		return strconv.AppendInt(nil, int64(value), 10), nil
	case float64:
		return strconv.AppendFloat(nil, value, 'f', -1, 64), nil
	case bool:
		if value {
			return []byte("True"), nil
		}
		return []byte("False"), nil
	case time.Time:
		return value.MarshalText()
	}
	return nil, errors.New("the value has a type that SOPS does not encrypt")
}
