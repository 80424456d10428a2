package kustomize

import (
	_ "embed"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/kustomize/kyaml/utils"
)

// fieldSpecText says which fields kustomize's transformers change, in the order
// in which they do it. kustomize does not export that; a test compares this list
// with its source.
//
//go:embed fieldspecs.txt
var fieldSpecText string

// fieldSpecs are the fields that transformers change, by the name of the
// transformer's configuration, and those that hold names of other objects.
type fieldSpecs struct {
	of         map[string]types.FsSlice
	references []reference
}

// reference is a field of a referrer that holds the name of a target.
type reference struct {
	referrer, target resid.Gvk
	path             []string
	role             bool // the field is one of a roleRef, which says more about its target
}

// parseFieldSpecs reads the list. A section begins with [name]; a line is a kind,
// version and group, then a path, then "create" if the field is to be made. In the
// section nameReference, what is not indented is the target of what follows it.
func parseFieldSpecs(text string) *fieldSpecs {
	s := &fieldSpecs{of: map[string]types.FsSlice{}}
	var section string
	var target resid.Gvk
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "["):
			section = strings.Trim(words[0], "[]")
		case len(words) == 1:
			target = parseGvk(words[0])
		case strings.HasPrefix(line, "\t"):
			s.references = append(s.references, reference{
				referrer: parseGvk(words[0]), target: target,
				path: utils.PathSplitter(words[1], "/"),
				role: strings.HasSuffix(words[1], "roleRef/name"),
			})
		default:
			s.of[section] = append(s.of[section], types.FieldSpec{
				Gvk: parseGvk(words[0]), Path: words[1], CreateIfNotPresent: len(words) == 3,
			})
		}
	}
	return s
}

func parseGvk(text string) resid.Gvk {
	parts := strings.Split(text, ",")
	return resid.Gvk{Kind: parts[0], Version: parts[1], Group: parts[2]}
}
