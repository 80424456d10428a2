package kustomize

import (
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/yaml"
)

// Schemas refer to each other, and kustomize follows references for as long as
// there are any: in a circle it never returns, or ends the process when the stack
// is full. So circles are found first, with the decoders that kustomize uses.

// crds checks a file of the crds field.
func (c *checker) crds(field, name string, data []byte) {
	var types map[string]struct{ Schema spec.Schema }
	decode := yaml.Unmarshal
	if len(data) > 0 && data[0] == '{' {
		decode = func(b []byte, v any, _ ...yaml.JSONOpt) error { return json.Unmarshal(b, v) }
	}
	if err := decode(data, &types); err != nil || len(types) == 0 {
		c.fault(field, fmt.Errorf("%s holds no OpenAPI definitions: %w", name, errors.Join(err, errNoTypes)))
		return
	}
	refs := map[string][]string{}
	for typ, t := range types {
		for _, p := range t.Schema.Properties {
			if p.Ref.GetURL() != nil {
				refs[typ] = append(refs[typ], p.Ref.String())
			}
		}
	}
	c.acyclic(field, name, refs)
}

var errNoTypes = errors.New("a map from type names to schemas is wanted")

// openAPI checks the file of openapi.path.
func (c *checker) openAPI(field, name string, data []byte) {
	if len(data) > 0 && data[0] != '{' {
		var err error
		if data, err = yaml.YAMLToJSON(data); err != nil {
			c.fault(field, err)
			return
		}
	}
	var swagger spec.Swagger
	if err := swagger.UnmarshalJSON(data); err != nil {
		c.fault(field, fmt.Errorf("%s is no OpenAPI schema: %w", name, err))
		return
	}
	refs := map[string][]string{}
	for def, s := range swagger.Definitions {
		if target := c.ref(field, &s); target != "" {
			refs[def] = []string{target}
		}
		c.subRefs(field, &s)
	}
	c.acyclic(field, name, refs)
}

// subRefs checks all references that kustomize can come to from a schema.
func (c *checker) subRefs(field string, s *spec.Schema) {
	for _, p := range s.Properties {
		c.ref(field, &p)
		c.subRefs(field, &p)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		c.ref(field, s.AdditionalProperties.Schema)
		c.subRefs(field, s.AdditionalProperties.Schema)
	}
	if s.Items != nil && s.Items.Schema != nil {
		c.ref(field, s.Items.Schema)
		c.subRefs(field, s.Items.Schema)
	}
}

// ref returns the definition that a schema stands for, or "". References to
// anything but a definition are refused, so that a circle is one of definitions.
func (c *checker) ref(field string, s *spec.Schema) string {
	text := s.Ref.String()
	if text == "" {
		return ""
	}
	tokens := s.Ref.GetPointer().DecodedTokens()
	if len(tokens) != 2 || tokens[0] != "definitions" || s.Ref.GetURL().Path != "" || s.Ref.GetURL().Host != "" {
		c.refuse(field, text, "a schema may only refer to #/definitions/<name>")
		return ""
	}
	return tokens[1]
}

// maxPaths bounds the ways that lead through the types of a file, all together.
const maxPaths = 10_000

// acyclic refuses references in a circle, and those that multiply.
func (c *checker) acyclic(field, name string, refs map[string][]string) {
	paths := map[string]int{} // ways that start at a type; 0 while they are counted
	var count func(string) int
	count = func(typ string) int {
		if n, ok := paths[typ]; ok {
			return n
		}
		paths[typ] = 0
		n := 1
		for _, next := range refs[typ] {
			ways := count(next)
			if ways == 0 {
				return 0
			}
			n = min(n+ways, maxPaths)
		}
		paths[typ] = n
		return n
	}
	total := 0
	for typ := range refs {
		n := count(typ)
		if n == 0 {
			c.fault(field, fmt.Errorf("%s: the type %s refers to itself", name, quote(typ)))
			return
		}
		total += n
	}
	if total > maxPaths {
		c.fault(field, fmt.Errorf("%s: its types refer to each other in more than %d ways", name, maxPaths))
	}
}
