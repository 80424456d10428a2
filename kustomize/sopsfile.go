package kustomize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// parseSealed reads an encrypted file, and takes SOPS's own entries out of it.
func parseSealed(format Format, data []byte) (*sealedFile, error) {
	var f sealedFile
	var err error
	switch format {
	case FormatYAML:
		f.docs, err = yamlDocuments(data)
	case FormatJSON, FormatBinary:
		f.docs, err = jsonDocument(data)
	case FormatDotenv:
		return parseDotenv(data)
	default:
		return nil, fmt.Errorf("it is a file of format %s, which this decrypter does not read: use the module kustomize/sops", quote(string(format)))
	}
	if err != nil {
		return nil, err
	}
	for i, doc := range f.docs {
		meta := take(doc, "sops")
		if i > 0 {
			continue // each document has the same
		}
		if meta == nil || meta.Decode(&f.meta) != nil {
			return nil, errors.New("its entry sops is missing or not as SOPS writes it")
		}
	}
	return &f, nil
}

// plain writes a decrypted file.
func (f *sealedFile) plain(format Format) ([]byte, error) {
	switch format {
	case FormatDotenv:
		return f.dotenv(), nil
	case FormatJSON:
		var compact, out bytes.Buffer
		if err := writeJSON(&compact, f.docs[0]); err != nil {
			return nil, err
		}
		err := json.Indent(&out, compact.Bytes(), "", "\t")
		out.WriteByte('\n')
		return out.Bytes(), err
	case FormatBinary:
		data := take(f.docs[0], "data")
		if data == nil {
			return nil, errors.New("it has no data")
		}
		return []byte(textOf(data)), nil
	case FormatYAML, FormatINI: // the latter is refused before
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(4)
	for _, doc := range f.docs {
		if err := enc.Encode(doc); err != nil {
			return nil, errors.New("it has no form in YAML") // the cause might show a value
		}
	}
	err := enc.Close()
	return out.Bytes(), err
}

// take removes an entry of a mapping and returns its value.
func take(doc *yaml.Node, key string) *yaml.Node {
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		doc = doc.Content[0]
	}
	if doc.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		if doc.Content[i].Value == key {
			value := doc.Content[i+1]
			doc.Content = slices.Delete(doc.Content, i, i+2)
			return value
		}
	}
	return nil
}

// textOf returns the text of a node, which YAML writes in another form if it is not
// valid UTF-8.
func textOf(n *yaml.Node) string {
	var text string
	if n.Decode(&text) != nil {
		return n.Value
	}
	return text
}

func yamlDocuments(data []byte) ([]*yaml.Node, error) {
	var docs []*yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.New("it is not valid YAML")
		}
		docs = append(docs, &doc)
	}
	if len(docs) == 0 {
		return nil, errors.New("it is empty")
	}
	return docs, nil
}

// jsonDocument reads JSON into nodes, which keep the order: it is in the checksum.
func jsonDocument(data []byte) ([]*yaml.Node, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	doc, err := jsonValue(dec, 0)
	if err != nil || doc.Kind != yaml.MappingNode {
		return nil, errors.New("it is not a JSON object")
	}
	return []*yaml.Node{doc}, nil
}

func jsonValue(dec *json.Decoder, depth int) (*yaml.Node, error) {
	token, err := dec.Token()
	if err != nil || depth > deepest {
		return nil, errors.New("malformed")
	}
	switch token := token.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
		if token == '[' {
			n = &yaml.Node{Kind: yaml.SequenceNode, Tag: yaml.NodeTagSeq}
		}
		for dec.More() {
			child, err := jsonValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err := dec.Token()
		return n, err
	case string:
		return scalar(yaml.NodeTagString, token), nil
	case json.Number:
		tag := yaml.NodeTagInt
		if strings.ContainsAny(token.String(), ".eE") {
			tag = yaml.NodeTagFloat
		}
		return scalar(tag, token.String()), nil
	case bool:
		return scalar(yaml.NodeTagBool, strconv.FormatBool(token)), nil
	}
	return scalar(yaml.NodeTagNull, "null"), nil
}

func scalar(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

func writeJSON(out *bytes.Buffer, n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return writeScalar(out, n)
	}
	open, end := byte('{'), byte('}')
	if n.Kind == yaml.SequenceNode {
		open, end = '[', ']'
	}
	out.WriteByte(open)
	for i, child := range n.Content {
		switch {
		case n.Kind == yaml.MappingNode && i%2 == 1:
			out.WriteByte(':')
		case i > 0:
			out.WriteByte(',')
		}
		if err := writeJSON(out, child); err != nil {
			return err
		}
	}
	out.WriteByte(end)
	return nil
}

func writeScalar(out *bytes.Buffer, n *yaml.Node) error {
	var value any
	if err := n.Decode(&value); err != nil {
		return errors.New("a value cannot be read")
	}
	text, err := json.Marshal(value)
	if err != nil {
		return errors.New("a value has no form in JSON")
	}
	out.Write(text)
	return nil
}

// parseDotenv reads lines of NAME=value. SOPS's own entries are lines as well, with
// their place in the name.
func parseDotenv(data []byte) (*sealedFile, error) {
	doc := &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
	own := map[string]string{}
	for i, line := range strings.Split(string(data), "\n") {
		name, value, ok := strings.Cut(line, "=")
		entry, isOwn := strings.CutPrefix(name, "sops_")
		value = strings.ReplaceAll(value, `\n`, "\n")
		switch {
		case line == "" || line[0] == '#': // comments are not in the checksum
		case !ok:
			return nil, fmt.Errorf("line %d is not NAME=value", i+1)
		case isOwn:
			own[entry] = value
		default:
			doc.Content = append(doc.Content, scalar(yaml.NodeTagString, name), scalar(yaml.NodeTagString, value))
		}
	}
	f := &sealedFile{docs: []*yaml.Node{doc}, meta: sopsMeta{
		LastModified: own["lastmodified"], MAC: own["mac"], MACOnlyEncrypted: own["mac_only_encrypted"] == "true",
		UnencryptedSuffix: own["unencrypted_suffix"], EncryptedSuffix: own["encrypted_suffix"],
		UnencryptedRegex: own["unencrypted_regex"], EncryptedRegex: own["encrypted_regex"],
		ByComment: own["unencrypted_comment_regex"], ByComment2: own["encrypted_comment_regex"],
	}}
	for i := 0; own[fmt.Sprintf("age__list_%d__map_enc", i)] != ""; i++ {
		at := fmt.Sprintf("age__list_%d__map_", i)
		f.meta.Age = append(f.meta.Age, ageRecipient{Recipient: own[at+"recipient"], Enc: own[at+"enc"]})
	}
	return f, nil
}

func (f *sealedFile) dotenv() []byte {
	var out bytes.Buffer
	entries := f.docs[0].Content
	for i := 0; i+1 < len(entries); i += 2 {
		fmt.Fprintf(&out, "%s=%s\n", entries[i].Value, strings.ReplaceAll(textOf(entries[i+1]), "\n", `\n`))
	}
	return out.Bytes()
}
