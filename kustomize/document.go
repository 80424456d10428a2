package kustomize

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/kustomize/kyaml/yaml"
	k8syaml "sigs.k8s.io/yaml"
)

// objects checks a file of objects.
func (c *checker) objects(_, name string, data []byte) {
	if _, done := c.counts[name]; done {
		return
	}
	docs, err := c.check(name, data)
	c.fail(name, "", err)
	c.counts[name] = count(docs)
	if c.keep {
		c.documents[name] = docs
	}
}

// document is one of a file: as the parser gives it, and as the value that it has
// in JSON, nil for what is not an object.
type document struct {
	node  *yaml.RNode
	value map[string]any
}

// patch checks a file of patches.
func (c *checker) patch(_, name string, data []byte) {
	ops, done := c.patched[name]
	var err error
	if !done {
		ops, err = c.checkPatch(name, data)
		c.patched[name] = ops
	}
	c.fail(name, "", cmp.Or(err, c.copies(ops)))
}

// inline checks a patch that is the value of a field.
func (c *checker) inline(field, text string) {
	if text == "" || c.err != nil {
		return
	}
	ops, err := c.checkPatch(c.file, []byte(text))
	c.fail(c.file, field, cmp.Or(err, c.copies(ops)))
}

// checkPatch checks a patch as what it is: kustomize tries to read each as a JSON
// patch and as documents, and each of the two readers takes what the other does
// not.
func (c *checker) checkPatch(file string, data []byte) (ops []any, err error) {
	ops, isList := operations(data)
	_, err = c.check(file, data)
	if err != nil && !(isList && errors.As(err, new(*syntaxError))) {
		return ops, err
	}
	return ops, checkOperations(ops)
}

// operations decodes a JSON patch as kustomize does it.
func operations(data []byte) (ops []any, ok bool) {
	text := bytes.TrimSpace(data)
	if !bytes.HasPrefix(text, []byte("[")) {
		var err error
		if text, err = k8syaml.YAMLToJSON(text); err != nil {
			return nil, false
		}
	}
	err := json.Unmarshal(text, &ops)
	return ops, err == nil
}

// checkOperations refuses empty keys, in what a JSON patch brings and in where it
// puts that.
func checkOperations(ops []any) error {
	for i, op := range ops {
		fields, _ := op.(map[string]any)
		for _, name := range []string{"path", "from"} {
			if at, _ := fields[name].(string); strings.Contains(at+"/", "//") {
				return fmt.Errorf("operation %d: %s %s has an empty key", i+1, name, quote(at))
			}
		}
		if hasEmptyKey(fields) {
			return fmt.Errorf("operation %d: there is an empty key", i+1)
		}
	}
	return nil
}

func hasEmptyKey(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			if key == "" || hasEmptyKey(v) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, hasEmptyKey)
	}
	return false
}

// check holds content to the limits, and refuses what cannot become an object.
// Such content would fail at the end of the build anyhow; but on the way there,
// kustomize ends the process when it tries to put it into a message.
func (g *guard) check(file string, data []byte) ([]document, error) {
	nodes, err := g.parse(file, data)
	if err != nil {
		return nil, err
	}
	docs := make([]document, len(nodes))
	for i, node := range nodes {
		value, err := checkDocument(node.YNode())
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		docs[i] = document{node, value}
	}
	return docs, nil
}

// checkDocument checks one object. A list is a JSON patch or nothing that
// kustomize takes.
func checkDocument(doc *yaml.Node) (map[string]any, error) {
	switch doc.Kind {
	case yaml.SequenceNode:
		return nil, nil
	case yaml.MappingNode:
		if err := checkKeys(doc); err != nil {
			return nil, err
		}
		object, err := toMap(doc)
		if err != nil {
			return nil, err
		}
		return object, checkIdentity(object)
	default:
		return nil, fmt.Errorf("line %d: %s is not a Kubernetes object", doc.Line, quote(doc.Value))
	}
}

// checkKeys refuses empty keys. One that comes into the data of a ConfigMap, from
// wherever in a tree, ends the process when a generator merges into it.
func checkKeys(n *yaml.Node) error {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && child.Kind == yaml.ScalarNode && child.Value == "" {
			return fmt.Errorf("line %d: there is an empty key", child.Line)
		}
		if err := checkKeys(child); err != nil {
			return err
		}
	}
	return nil
}

// checkIdentity asks for what makes an object one to kustomize.
func checkIdentity(object map[string]any) error {
	kind, _ := object["kind"].(string)
	meta, _ := object["metadata"].(map[string]any)
	name, named := meta["name"]
	switch {
	case len(object) == 0 || strings.HasSuffix(kind, "List"):
		return nil
	case kind == "":
		return errors.New("it is not a Kubernetes object: it has no kind")
	case !named || name == nil || name == "":
		return fmt.Errorf("the %s has no metadata.name", kind)
	}
	return nil
}

// parse splits and parses content as kustomize does it, and puts in the place of
// each alias what it stands for, after counting what that will cost.
func (g *guard) parse(file string, data []byte) ([]*yaml.RNode, error) {
	r := kio.ByteReader{Reader: bytes.NewReader(data), OmitReaderAnnotations: true, DisableUnwrapping: true}
	docs, err := r.Read()
	if err != nil {
		return nil, &syntaxError{err}
	}
	m := measure{lim: g.src.lim, file: file, sizes: map[*yaml.Node]size{}}
	for _, doc := range docs {
		s, err := m.of(doc.YNode(), 0)
		if err != nil {
			return nil, err
		}
		if m.nodes += s.nodes; m.nodes > g.src.lim.Nodes {
			return nil, m.tooMany()
		}
		if !m.anchors {
			continue // most have none, and replacing none costs as much as parsing
		}
		if err := doc.DeAnchor(); err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// syntaxError is the parser's; its message loses the marker that kyaml puts first.
type syntaxError struct{ error }

func (e *syntaxError) Error() string {
	return strings.TrimPrefix(e.error.Error(), "MalformedYAMLError: ")
}

func (e *syntaxError) Unwrap() error { return e.error }

// measure counts what a document is made of when its aliases are replaced.
type measure struct {
	lim   Limits
	file  string
	nodes int
	// sizes are those of anchors that were measured, with an open entry for one that
	// is being.
	sizes   map[*yaml.Node]size
	anchors bool // there are anchors, or keys that merge
}

type size struct {
	nodes, height int
	open          bool
}

func (m *measure) tooMany() error {
	return &LimitError{Limit: "Nodes", Max: int64(m.lim.Nodes), File: m.file}
}

func (m *measure) of(n *yaml.Node, depth int) (size, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if s, ok := m.sizes[n]; n.Anchor != "" && ok {
		if s.open {
			return s, errors.New("an anchor holds an alias of itself")
		}
		if depth+s.height > m.lim.Depth {
			return s, &LimitError{Limit: "Depth", Max: int64(m.lim.Depth), File: m.file}
		}
		return s, nil
	}
	if depth > m.lim.Depth {
		return size{}, &LimitError{Limit: "Depth", Max: int64(m.lim.Depth), File: m.file}
	}
	if n.Anchor != "" {
		m.anchors = true
		m.sizes[n] = size{open: true}
	}
	s := size{nodes: 1}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && child.Value == "<<" {
			m.anchors = true
		}
		cs, err := m.of(child, depth+1)
		if err != nil {
			return s, err
		}
		s.height = max(s.height, cs.height+1)
		if s.nodes += cs.nodes; s.nodes > m.lim.Nodes {
			return s, m.tooMany()
		}
	}
	if n.Anchor != "" {
		m.sizes[n] = s
	}
	return s, nil
}

// count is how many objects there are in documents: a list has more than one.
func count(docs []document) int {
	n := 0
	for _, doc := range docs {
		n += countObject(doc.value)
	}
	return n
}

func countObject(object map[string]any) int {
	kind, _ := object["kind"].(string)
	items, _ := object["items"].([]any)
	if !strings.HasSuffix(kind, "List") || len(items) == 0 {
		return 1
	}
	n := 0
	for _, item := range items {
		if o, ok := item.(map[string]any); ok {
			n += countObject(o)
		}
	}
	return n
}
