package kustomize

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// objects checks a file of objects or patches.
func (c *checker) objects(_, name string, data []byte) {
	if _, done := c.counts[name]; done {
		return
	}
	n, err := c.check(name, data)
	c.fail(name, "", err)
	c.counts[name] = n
}

// inline checks a document that is the value of a field.
func (c *checker) inline(field, text string) {
	if text == "" || c.err != nil {
		return
	}
	_, err := c.check(c.file, []byte(text))
	c.fail(c.file, field, err)
}

// check holds content to the limits, and refuses what cannot become an object.
// Such content would fail at the end of the build anyhow; but on the way there,
// kustomize ends the process when it tries to put it into a message.
func (c *checker) check(file string, data []byte) (objects int, err error) {
	docs, err := c.parse(file, data)
	if err != nil {
		return 0, err
	}
	for i, doc := range docs {
		n, err := checkDocument(doc.YNode())
		if err != nil {
			return 0, fmt.Errorf("document %d: %w", i+1, err)
		}
		objects += n
	}
	return objects, nil
}

// checkDocument checks an object, or a JSON patch, which is a list.
func checkDocument(doc *yaml.Node) (objects int, err error) {
	if err := checkKeys(doc); err != nil {
		return 0, err
	}
	switch doc.Kind {
	case yaml.SequenceNode:
		return 1, checkPatch(doc)
	case yaml.MappingNode:
		object, err := toMap(doc)
		if err != nil {
			return 0, err
		}
		return count(object), checkIdentity(object)
	default:
		return 0, fmt.Errorf("line %d: %s is not a Kubernetes object", doc.Line, quote(doc.Value))
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

// checkPatch refuses operations of a JSON patch on an empty key.
func checkPatch(list *yaml.Node) error {
	for _, op := range list.Content {
		for i := 0; op.Kind == yaml.MappingNode && i+1 < len(op.Content); i += 2 {
			key, at := op.Content[i].Value, op.Content[i+1].Value
			if (key == "path" || key == "from") && strings.Contains(at+"/", "//") {
				return fmt.Errorf("line %d: %s %s has an empty key", op.Line, key, quote(at))
			}
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
// each alias what it stands for, after counting what that will cost. What does
// not parse gives no documents: kustomize says why, and knows whether it matters.
func (c *checker) parse(file string, data []byte) ([]*yaml.RNode, error) {
	r := kio.ByteReader{Reader: bytes.NewReader(data), OmitReaderAnnotations: true, DisableUnwrapping: true}
	docs, err := r.Read()
	if err != nil {
		return nil, malformed(err)
	}
	m := measure{lim: c.src.lim, file: file, sizes: map[*yaml.Node]size{}}
	for _, doc := range docs {
		s, err := m.of(doc.YNode(), 0)
		if err != nil {
			return nil, err
		}
		if m.nodes += s.nodes; m.nodes > c.src.lim.Nodes {
			return nil, m.tooMany()
		}
		if err := doc.DeAnchor(); err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// malformed takes kyaml's marker out of a parser's message.
func malformed(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "MalformedYAMLError: "))
}

// measure counts what a document is made of when its aliases are replaced.
type measure struct {
	lim   Limits
	file  string
	nodes int
	sizes map[*yaml.Node]size // of what was measured, and an open entry for what is being
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
	if s, ok := m.sizes[n]; ok {
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
	m.sizes[n] = size{open: true}
	s := size{nodes: 1}
	for _, child := range n.Content {
		cs, err := m.of(child, depth+1)
		if err != nil {
			return s, err
		}
		s.height = max(s.height, cs.height+1)
		if s.nodes += cs.nodes; s.nodes > m.lim.Nodes {
			return s, m.tooMany()
		}
	}
	m.sizes[n] = s
	return s, nil
}

// count is how many objects there are in an object: more than one if it is a list.
func count(object map[string]any) int {
	kind, _ := object["kind"].(string)
	items, _ := object["items"].([]any)
	if !strings.HasSuffix(kind, "List") || len(items) == 0 {
		return 1
	}
	n := 0
	for _, item := range items {
		if o, ok := item.(map[string]any); ok {
			n += count(o)
		}
	}
	return n
}
