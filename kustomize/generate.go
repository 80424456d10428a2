package kustomize

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
)

// errNoDir is fs.ErrNotExist, for those who asked for the directory.
var errNoDir = fmt.Errorf("the tree has no such directory; check the path: %w", fs.ErrNotExist)

// prepare finds the directory, and provides its kustomization where it has none, or
// not the one that the options want.
func (b *builder) prepare(dir string, opts *Options) error {
	if err := opts.validate(b); err != nil {
		return err
	}
	b.dir = cleanDir(dir)
	if !fs.ValidPath(b.dir) {
		return &RefusedError{File: dir, Value: dir, Reason: "the directory to build must be a relative path inside of the tree"}
	}
	real, info, err := b.src.stat(b.dir)
	if missing(err) {
		return &InputError{File: b.dir, Err: errNoDir}
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &InputError{File: b.dir, Err: errors.New("a build needs a directory, and this is a file")}
	}
	b.dir = real
	b.target = path.Join(mount, b.dir)
	name, err := b.src.kustomizationOf(b.dir)
	if err != nil {
		return err
	}
	components, err := b.components(opts)
	if err != nil {
		return err
	}
	if name == "" {
		return b.generate(opts, components)
	}
	return b.adapt(name, opts, components)
}

// components are those of the options that are there.
func (b *builder) components(opts *Options) (list []string, err error) {
	for i, c := range opts.Components {
		field := fmt.Sprintf("Components[%d]", i)
		name := path.Join(b.dir, c)
		if !fs.ValidPath(name) {
			return nil, &OptionError{Field: field, Value: c, Err: errors.New("the path leads out of the tree")}
		}
		_, info, err := b.src.stat(name)
		switch {
		case missing(err) && opts.IgnoreMissingComponents:
			continue
		case missing(err):
			return nil, &InputError{File: name, Err: fmt.Errorf("wanted by Options.%s: %w", field, errNoDir)}
		case err != nil:
			return nil, err
		case !info.IsDir():
			return nil, &InputError{File: name, Err: fmt.Errorf("wanted by Options.%s: a component is a directory, and this is a file", field)}
		}
		list = append(list, c)
	}
	return list, nil
}

// generate provides the kustomization file of a directory that has none.
func (b *builder) generate(opts *Options, components []string) error {
	var k types.Kustomization
	if err := b.collect(b.dir, &k.Resources); err != nil {
		return err
	}
	if len(k.Resources) == 0 && len(components) == 0 {
		b.target = ""
		return nil
	}
	opts.merge(&k, components)
	return b.provide(konfig.DefaultKustomizationFileName(), &k)
}

// adapt provides the directory's own kustomization with the options in it. What is
// wrong with it is left for kustomize to find.
func (b *builder) adapt(name string, opts *Options, components []string) error {
	data, err := b.src.read(path.Join(b.dir, name))
	if err != nil {
		return nil //nolint:nilerr // kustomize will come to the same
	}
	var k types.Kustomization
	if err := k.Unmarshal(data); err != nil {
		return nil //nolint:nilerr // kustomize will say the same
	}
	b.sorts = k.SortOptions != nil
	if !opts.merge(&k, components) {
		return nil
	}
	return b.provide(name, &k)
}

// provide has kustomize find a file in the directory.
func (b *builder) provide(name string, k *types.Kustomization) error {
	data, err := json.Marshal(k)
	if most := b.src.lim.FileBytes; int64(len(data)) > most {
		return &LimitError{Limit: "FileBytes", Max: most, File: path.Join(b.dir, name)}
	}
	b.virtual[path.Join(b.target, name)] = data
	return err
}

// collect lists what a kustomization for a directory without one refers to.
func (b *builder) collect(dir string, list *[]string) error {
	if err := b.src.count(dir); err != nil {
		return err
	}
	entries, err := b.src.list(dir)
	if err != nil {
		return err
	}
	for _, d := range entries {
		if err := b.collectOne(path.Join(dir, d.Name()), d, list); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) collectOne(name string, d fs.DirEntry, list *[]string) error {
	if d.IsDir() {
		has, err := b.src.kustomizationOf(name)
		if err != nil {
			return err
		}
		if has == "" {
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
	if !isYAML(name) {
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

// kustomizationOf returns the name of a directory's kustomization file, or "".
func (s *source) kustomizationOf(dir string) (string, error) {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		_, _, err := s.stat(path.Join(dir, name))
		switch {
		case err == nil:
			return name, nil
		case !missing(err):
			return "", err
		}
	}
	return "", nil
}
