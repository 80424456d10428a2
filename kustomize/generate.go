package kustomize

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// generate provides the kustomization file of a directory that has none.
func (b *builder) generate(opts Options) error {
	k := types.Kustomization{Namespace: opts.TargetNamespace}
	if err := b.collect(b.dir, &k.Resources); err != nil {
		return err
	}
	if len(k.Resources) == 0 {
		b.target = ""
		return nil
	}
	return b.provide(path.Join(b.target, konfig.DefaultKustomizationFileName()), k)
}

// overlay lays a kustomization over the directory that moves it to the target
// namespace. kustomize obeys two fields only at the top, so they move there.
func (b *builder) overlay(opts Options) error {
	inner := b.kustomization()
	b.sorts = inner.SortOptions != nil
	if opts.TargetNamespace == "" {
		return nil
	}
	resource := ".." + b.target
	b.target = outer
	return b.provide(path.Join(outer, konfig.DefaultKustomizationFileName()), types.Kustomization{
		Namespace:     opts.TargetNamespace,
		Resources:     []string{resource},
		BuildMetadata: inner.BuildMetadata,
		SortOptions:   inner.SortOptions,
	})
}

// kustomization decodes the directory's own file. What is wrong with it is left
// for kustomize to find.
func (b *builder) kustomization() types.Kustomization {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		data, err := b.src.read(path.Join(b.dir, name))
		if err != nil {
			continue
		}
		var k types.Kustomization
		if k.Unmarshal(data) == nil {
			return k
		}
	}
	return types.Kustomization{}
}

// provide adds a file for kustomize to find.
func (b *builder) provide(file string, k types.Kustomization) error {
	data, err := yaml.Marshal(k)
	b.virtual[file] = data
	return err
}

// collect lists what a kustomization for a directory without one refers to.
func (b *builder) collect(dir string, list *[]string) error {
	if err := b.src.count(dir); err != nil {
		return err
	}
	entries, err := fs.ReadDir(b.src.fsys, dir)
	if err != nil {
		return err
	}
	for _, d := range entries {
		if strings.HasPrefix(d.Name(), ".") {
			continue
		}
		if err := b.collectOne(path.Join(dir, d.Name()), d, list); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) collectOne(name string, d fs.DirEntry, list *[]string) error {
	if d.IsDir() {
		has, err := b.src.hasKustomization(name)
		if err != nil {
			return err
		}
		if !has {
			return b.collect(name, list)
		}
	} else if take, err := b.takes(name, d); !take || err != nil {
		return err
	}
	// The "./" keeps kustomize from taking a directory such as github.com for a host.
	*list = append(*list, "./"+strings.TrimPrefix(name, b.dir+"/"))
	return nil
}

// takes says whether a file is a manifest. A link is one if it leads to a file
// from elsewhere: what is below the directory is taken where it is.
func (b *builder) takes(name string, d fs.DirEntry) (bool, error) {
	if !slices.Contains([]string{".yaml", ".yml"}, path.Ext(name)) {
		return false, nil
	}
	if d.Type() != fs.ModeSymlink {
		return d.Type().IsRegular(), nil
	}
	real, info, err := b.src.stat(name)
	if missing(err) {
		return false, &InputError{File: name, Err: errors.New("it is a link to something that is not in the tree")}
	}
	if err != nil {
		return false, err
	}
	below := b.dir == "." || strings.HasPrefix(real, b.dir+"/")
	return info.Mode().IsRegular() && !below, nil
}

// hasKustomization looks for any of the names that kustomize knows.
func (s *source) hasKustomization(dir string) (bool, error) {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		_, _, err := s.stat(path.Join(dir, name))
		switch {
		case err == nil:
			return true, nil
		case !missing(err):
			return false, err
		}
	}
	return false, nil
}
