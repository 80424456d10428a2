package kustomize

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Decrypter turns what SOPS encrypted back into what it was. [NewAgeDecrypter]
// makes one for age keys; the module kustomize/sops has one for all other keys.
type Decrypter interface {
	// Decrypt returns the plain text of a file of the tree, or of one document in
	// it. It checks that nobody changed the file since it was encrypted. Its errors
	// hold nothing of the plain text. It is safe for concurrent use.
	Decrypt(ctx context.Context, file string, format Format, data []byte) ([]byte, error)
	// Identity names the keys without showing them. What was built with some keys is
	// neither taken from a [Cache] nor for unchanged with others: who lacks a key is
	// not to see what it opens.
	Identity() string
}

// The marks that keep a document or an object as it is, encrypted: ours, and the
// one that people have in their manifests already.
const (
	decryptMark     = "kustomize.gitopskit.dev/decrypt"
	decryptMarkFlux = "kustomize.toolkit.fluxcd.io/decrypt"
)

// EncryptedError says that an object is still encrypted after the build: there is
// no decrypter, or it came from a file that is not decrypted.
type EncryptedError struct {
	Object string // kind and name
	Key    string // of a Secret's data; empty if it is the whole object
}

func (e *EncryptedError) Error() string {
	what := e.Object
	if e.Key != "" {
		what += ": data " + quote(e.Key)
	}
	return what + " is still encrypted: give Options.Decrypter a key for it, or annotate it with " + decryptMark + ": disabled"
}

// Terminal reports that trying again cannot help.
func (e *EncryptedError) Terminal() bool { return true }

// DecryptError says that a file cannot be decrypted.
type DecryptError struct {
	File string // in the tree
	Err  error  // the decrypter's
}

func (e *DecryptError) Error() string { return fmt.Sprintf("decrypt %s: %v", e.File, e.Err) }

func (e *DecryptError) Unwrap() error { return e.Err }

// unsealer decrypts what a build reads. Kustomize sees plain text only, so a patch
// of a Secret, and a generator that reads an encrypted file, work on it as they
// would on any other.
type unsealer struct {
	ctx    context.Context //nolint:containedctx // of the build
	by     Decrypter
	clear  map[string][]byte // plain text, by real name
	public map[string]bool   // sources of ConfigMaps, which stay as they are
}

func newUnsealer(ctx context.Context, by Decrypter) *unsealer {
	return &unsealer{ctx: ctx, by: by, clear: map[string][]byte{}, public: map[string]bool{}}
}

// publish keeps a source of a ConfigMap encrypted. Plain text of a secret has no
// place there.
func (u *unsealer) publish(name string) error {
	if u == nil {
		return nil
	}
	if u.clear[name] != nil {
		return errors.New("the file is encrypted, and used for a ConfigMap as well as for something else: use a Secret, or two files")
	}
	u.public[name] = true
	return nil
}

// used reports whether the build has seen any plain text.
func (u *unsealer) used() bool { return len(u.clear) > 0 }

// file returns the plain text of a file, or the file itself if it is not encrypted.
func (u *unsealer) file(name string, data []byte) ([]byte, error) {
	if u == nil || u.by == nil || u.public[name] || slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name)) {
		return data, nil
	}
	if text, ok := u.clear[name]; ok {
		return text, nil
	}
	format, ok := sealedAs(name, data)
	if !ok {
		return data, nil
	}
	var text []byte
	var err error
	if format == FormatYAML {
		text, err = u.yaml(name, data)
	} else {
		text, err = u.by.Decrypt(u.ctx, name, format, data)
	}
	if err != nil {
		return nil, &DecryptError{File: name, Err: err}
	}
	if !bytes.Equal(text, data) {
		u.clear[name] = text
	}
	return text, nil
}

// yaml decrypts a file of documents: as the one file that SOPS wrote, if all have
// the same checksum, or else each that is encrypted by itself.
func (u *unsealer) yaml(name string, data []byte) ([]byte, error) {
	docs := splitDocuments(data)
	macs := make([]string, len(docs))
	for i, doc := range docs {
		macs[i] = documentMAC(doc)
	}
	if macs[0] != "" && len(slices.Compact(slices.Clone(macs))) == 1 {
		return u.by.Decrypt(u.ctx, name, FormatYAML, data)
	}
	for i, doc := range docs {
		if macs[i] == "" {
			continue
		}
		text, err := u.by.Decrypt(u.ctx, name, FormatYAML, doc)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		docs[i] = append([]byte("---\n"), bytes.TrimPrefix(text, []byte("---\n"))...)
		if !bytes.HasSuffix(text, []byte("\n")) {
			docs[i] = append(docs[i], '\n')
		}
	}
	return bytes.Join(docs, nil), nil
}

// splitDocuments splits YAML before each line that begins a document. Documents
// without content go with the one before.
func splitDocuments(data []byte) [][]byte {
	var docs [][]byte
	var doc []byte
	content := false
	for line := range bytes.Lines(data) {
		begins := bytes.HasPrefix(line, []byte("---")) && (len(line) == 3 || bytes.ContainsRune([]byte(" \t\r\n"), rune(line[3])))
		if begins && content {
			docs, doc, content = append(docs, doc), nil, false
		}
		doc = append(doc, line...)
		rest := bytes.TrimSpace(line)
		content = content || len(rest) > 0 && rest[0] != '#' && !begins || begins && len(rest) > 3
	}
	if content || len(docs) == 0 {
		return append(docs, doc)
	}
	docs[len(docs)-1] = append(docs[len(docs)-1], doc...)
	return docs
}

// documentMAC returns the checksum of an encrypted document that did not opt out.
func documentMAC(doc []byte) string {
	var head struct {
		Metadata struct {
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"metadata"`
		Sops struct {
			MAC string `yaml:"mac"`
		} `yaml:"sops"`
	}
	if !sealedYAML.Match(doc) || yaml.Unmarshal(doc, &head) != nil || optedOutOfDecryption(head.Metadata.Annotations) {
		return ""
	}
	return head.Sops.MAC
}

func optedOutOfDecryption(annotations map[string]string) bool {
	return annotations[decryptMark] == "disabled" || annotations[decryptMarkFlux] == "disabled"
}

// checkDecrypted looks for objects that are still encrypted, which would be of no
// use in a cluster.
func checkDecrypted(objects []*unstructured.Unstructured) error {
	for _, o := range objects {
		sealed, key := stillSealed(o.Object)
		if sealed && !optedOutOfDecryption(o.GetAnnotations()) {
			return &EncryptedError{Object: describe(o), Key: key}
		}
	}
	return nil
}

func stillSealed(object map[string]any) (sealed bool, key string) {
	if mac, _, _ := unstructured.NestedString(object, "sops", "mac"); mac != "" {
		return true, ""
	}
	if object["kind"] != "Secret" {
		return false, ""
	}
	for _, field := range []string{"data", "stringData"} {
		values, _ := object[field].(map[string]any)
		for key, value := range values {
			text, _ := value.(string)
			data := []byte(text)
			if field == "data" {
				data, _ = base64.StdEncoding.DecodeString(text) // what is no base64 is not ours to say
			}
			if _, ok := sealedAs(key, data); ok {
				return true, key
			}
		}
	}
	return false, ""
}
