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
	if err != nil && c.err == nil {
		c.err = ours(name, "", err)
		return
	}
	c.counts[name] = n
}

// inline checks a document that is the value of a field.
func (c *checker) inline(field, text string) {
	if text == "" || c.err != nil {
		return
	}
	if _, err := c.check(c.file, []byte(text)); err != nil {
		c.err = ours(c.file, field, err)
	}
}

// ours makes sure that an error says where.
func ours(file, field string, err error) error {
	if errors.As(err, new(*LimitError)) {
		return err
	}
	return &InputError{File: file, Field: field, Err: err}
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
		if doc.YNode().Kind != yaml.MappingNode {
			continue // a JSON patch is a list
		}
		value, err := toValue(doc.YNode())
		if err == nil {
			err = checkData(value.(map[string]any))
		}
		if err != nil {
			return 0, fmt.Errorf("document %d: %w", i+1, err)
		}
		objects += count(value.(map[string]any))
	}
	return objects, nil
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

// checkData refuses an empty key in the data of an object. Merging a generated
// ConfigMap into one ends the process.
func checkData(object map[string]any) error {
	for _, field := range []string{"data", "binaryData"} {
		if data, ok := object[field].(map[string]any); ok {
			if _, empty := data[""]; empty {
				return fmt.Errorf("%s has an empty key", field)
			}
		}
	}
	return eachItem(object, checkData)
}

// count is how many objects there are in an object: more than one if it is a list.
func count(object map[string]any) int {
	n := 0
	_ = eachItem(object, func(item map[string]any) error {
		n += count(item)
		return nil
	})
	return max(n, 1)
}

func eachItem(object map[string]any, f func(map[string]any) error) error {
	kind, _ := object["kind"].(string)
	items, _ := object["items"].([]any)
	if !strings.HasSuffix(kind, "List") {
		return nil
	}
	for _, item := range items {
		if o, ok := item.(map[string]any); ok {
			if err := f(o); err != nil {
				return err
			}
		}
	}
	return nil
}
