package kustomize

import (
	"strings"

	"sigs.k8s.io/kustomize/api/filters/imagetag"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/utils"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// setImages has kustomize's filters set images. They look at all of an object for
// each image, so those objects are left out for which that is certain to change
// nothing: most objects run no image, and most that do run another.
func (e *engine) setImages(k *types.Kustomization, items []*item) error {
	if len(k.Images) == 0 {
		return nil
	}
	fields := e.specs.of["images"]
	paths := make([][]string, len(fields))
	for i, f := range fields {
		paths[i] = utils.PathSplitter(f.Path, "/")
	}
	for _, it := range items {
		if err := it.setImages(k.Images, fields, paths); err != nil {
			return err
		}
	}
	return nil
}

func (it *item) setImages(images []types.Image, fields types.FsSlice, paths [][]string) error {
	var found imageNodes
	found.search(it.res.YNode(), paths)
	for _, image := range images {
		if !found.mayMatch(image.Name) {
			continue
		}
		if err := it.apply(imagetag.LegacyFilter{ImageTag: image}); err != nil {
			return err
		}
		if err := it.apply(imagetag.Filter{ImageTag: image, FsSlice: fields}); err != nil {
			return err
		}
		found = imageNodes{}
		found.search(it.res.YNode(), paths)
	}
	return nil
}

// imageNodes are the fields of an object that can hold an image.
type imageNodes struct {
	values []string
	odd    bool // there is something that the filters may fail on, or change
}

func (f *imageNodes) search(object *yaml.Node, paths [][]string) {
	f.anywhere(object)
	for _, path := range paths {
		f.at(object, path)
	}
}

// mayMatch reports whether a filter may do something for an image. Its name is a
// regular expression, so what is before the first dot is compared if the rest is
// usual for the name of an image.
func (f *imageNodes) mayMatch(name string) bool {
	if f.odd || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_:@.-") != "" {
		return true
	}
	literal, _, _ := strings.Cut(name, ".")
	for _, value := range f.values {
		if strings.HasPrefix(value, literal) {
			return true
		}
	}
	return false
}

// anywhere finds the images of containers at any depth.
func (f *imageNodes) anywhere(n *yaml.Node) {
	for i, child := range n.Content {
		f.anywhere(child)
		if n.Kind != yaml.MappingNode || i%2 == 0 || child.Kind != yaml.SequenceNode {
			continue
		}
		if key := n.Content[i-1].Value; key == "containers" || key == "initContainers" {
			f.at(child, []string{"image"})
		}
	}
}

// at finds the images at a path.
func (f *imageNodes) at(n *yaml.Node, path []string) {
	switch {
	case len(path) == 0 && n.Kind == yaml.ScalarNode && n.Tag != yaml.NodeTagNull:
		f.values = append(f.values, n.Value)
	case len(path) == 0, n.Kind != yaml.MappingNode && n.Kind != yaml.SequenceNode:
		f.odd = true
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			f.at(item, path)
		}
	default:
		if next := field(n, strings.TrimSuffix(path[0], "[]")); next != nil {
			f.at(next, path[1:])
		}
	}
}
