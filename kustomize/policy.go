package kustomize

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
)

// checkKustomization refuses what a build never does, and checks the files that
// the kustomization names, for what kustomize will use each of them. It decodes
// the bytes as kustomize will, with kustomize's own code: a check of the text
// would miss spellings.
func (g *guard) checkKustomization(abs, file string, data []byte) error {
	var k types.Kustomization
	if err := k.Unmarshal(data); err != nil {
		return nil //nolint:nilerr // kustomize will say the same, if this is indeed a kustomization
	}
	if len(k.OpenAPI) != 0 && !g.exclusive {
		g.wantsExclusive = true
		return errExclusive
	}
	c := &checker{guard: g, file: file, dir: path.Dir(file)}
	c.helm(&k)
	c.resources(&k)
	c.files(&k)
	c.patches(&k)
	c.generators(&k)
	c.plugins(&k)
	if g.keep {
		g.kustomizations[abs] = &k
	}
	return c.err
}

// checker checks one kustomization file and keeps the first fault.
type checker struct {
	*guard
	file string
	dir  string
	err  error
}

func (c *checker) refuse(field, value, reason string) {
	if c.err == nil {
		c.err = &RefusedError{File: c.file, Field: field, Value: value, Reason: reason}
	}
}

// fault keeps what is wrong with a field.
func (c *checker) fault(field string, err error) { c.fail(c.file, field, err) }

// fail keeps what is wrong at a place, unless the error says that better.
func (c *checker) fail(file, field string, err error) {
	switch {
	case c.err != nil || err == nil:
	case errors.As(err, new(*LimitError)), errors.As(err, new(*RefusedError)), errors.As(err, new(*InputError)):
		c.err = err
	default:
		c.err = &InputError{File: file, Field: field, Err: err}
	}
}

func (c *checker) helm(k *types.Kustomization) {
	const reason = "inflating a Helm chart runs a program: render the chart and commit the result, or release it with Helm"
	for i, chart := range k.HelmCharts {
		c.refuse(fmt.Sprintf("helmCharts[%d]", i), chart.Name, reason)
	}
	for i, chart := range k.HelmChartInflationGenerator {
		c.refuse(fmt.Sprintf("helmChartInflationGenerator[%d]", i), chart.ChartName, reason)
	}
	if k.HelmGlobals != nil {
		c.refuse("helmGlobals", k.HelmGlobals.ChartHome, reason)
	}
}

func (c *checker) resources(k *types.Kustomization) {
	for i, v := range k.Resources {
		c.path(fmt.Sprintf("resources[%d]", i), v, c.objects)
	}
	for i, v := range k.Bases {
		c.path(fmt.Sprintf("bases[%d]", i), v, c.objects)
	}
	for i, v := range k.Components {
		c.path(fmt.Sprintf("components[%d]", i), v, nil)
	}
}

func (c *checker) files(k *types.Kustomization) {
	for i, v := range k.Crds {
		c.path(fmt.Sprintf("crds[%d]", i), v, c.crds)
	}
	for i, v := range k.Configurations {
		c.path(fmt.Sprintf("configurations[%d]", i), v, nil)
	}
	for i := range k.Replacements {
		r := &k.Replacements[i]
		c.path(fmt.Sprintf("replacements[%d].path", i), r.Path, c.replacementFile)
		c.replacement(fmt.Sprintf("replacements[%d]", i), &r.Replacement)
	}
	c.path("openapi.path", k.OpenAPI["path"], c.openAPI)
}

func (c *checker) patches(k *types.Kustomization) {
	for i, p := range k.Patches {
		c.path(fmt.Sprintf("patches[%d].path", i), p.Path, c.patch)
		c.inline(fmt.Sprintf("patches[%d].patch", i), p.Patch)
	}
	for i, p := range k.PatchesJson6902 {
		c.path(fmt.Sprintf("patchesJson6902[%d].path", i), p.Path, c.patch)
		c.inline(fmt.Sprintf("patchesJson6902[%d].patch", i), p.Patch)
	}
	for i, p := range k.PatchesStrategicMerge {
		c.pathOrInline(fmt.Sprintf("patchesStrategicMerge[%d]", i), string(p))
	}
}

func (c *checker) generators(k *types.Kustomization) {
	for i, g := range k.ConfigMapGenerator {
		c.sources(fmt.Sprintf("configMapGenerator[%d]", i), g.KvPairSources, c.publish)
	}
	for i, g := range k.SecretGenerator {
		c.sources(fmt.Sprintf("secretGenerator[%d]", i), g.KvPairSources, nil)
	}
}

// sources checks the files of a generator, and hands their names to use.
func (c *checker) sources(field string, s types.KvPairSources, use func(field, file string)) {
	check := func(field, file string) { c.generatorFile(field, file, use) }
	for i, v := range s.FileSources {
		c.source(fmt.Sprintf("%s.files[%d]", field, i), v, check)
	}
	for i, v := range s.EnvSources {
		check(fmt.Sprintf("%s.envs[%d]", field, i), v)
	}
	check(field+".env", s.EnvSource)
}

func (c *checker) generatorFile(field, file string, use func(field, file string)) {
	c.path(field, file, nil)
	if use != nil && file != "" && c.err == nil {
		use(field, file)
	}
}

// publish keeps a file from being decrypted.
func (c *checker) publish(field, file string) {
	real, _, err := c.src.stat(path.Join(c.dir, file))
	if err == nil {
		err = c.src.unseal.publish(real)
	}
	c.fault(field, err)
}

// source checks an entry of files, which is a path or key=path.
func (c *checker) source(field, value string, check func(field, file string)) {
	key, file, ok := strings.Cut(value, "=")
	if !ok {
		file = key
	}
	c.remote(field, value)
	check(field, file)
}

// pathOrInline checks an entry that kustomize first takes for YAML, and then, if
// it is none, for a path.
func (c *checker) pathOrInline(field, value string) {
	if isInline(value) {
		c.remote(field, value)
		c.inline(field, value)
		return
	}
	c.path(field, value, c.patch)
}

// isInline reports whether a value can only be a document. A path that is taken
// for one is not found, because no path has such a name.
func isInline(value string) bool {
	return strings.Contains(value, "\n") || strings.HasPrefix(strings.TrimSpace(value), "{")
}

// path checks a field that names a file, or a directory with a kustomization.
// A file is handed to check, if that is not nil, as kustomize will read it.
func (c *checker) path(field, value string, check func(field, name string, data []byte)) {
	if value == "" || c.err != nil {
		return
	}
	name := path.Join(c.dir, value)
	switch {
	case c.remote(field, value):
	case path.IsAbs(value):
		c.refuse(field, value, "an absolute path leads out of the tree: use a path relative to the kustomization")
	case name == ".." || strings.HasPrefix(name, "../"):
		c.refuse(field, value, "the path leads out of the tree")
	default:
		c.use(field, value, name, check)
	}
}

// use finds missing files before kustomize does, whose message would be about
// directories and repositories.
func (c *checker) use(field, value, name string, check func(field, name string, data []byte)) {
	_, info, err := c.src.stat(name)
	switch {
	case missing(err):
		c.fault(field, fmt.Errorf("%s does not exist", quote(value)))
		return
	case err != nil:
		c.err = err
		return
	case check == nil || info.IsDir():
		return
	}
	data, err := c.src.read(name)
	if err != nil {
		c.err = err
		return
	}
	check(field, name, data)
}

// remote refuses all that kustomize would fetch, and what looks so much like it
// that another release might.
func (c *checker) remote(field, value string) bool {
	if !isRemote(value) {
		return false
	}
	c.refuse(field, value, "it is not in the tree, and a build uses no network: commit a copy of what it refers to")
	return true
}

// remoteForm is what kustomize recognises an address by, and a little more: any
// scheme, a user at a host, and the prefixes that need neither.
var remoteForm = regexp.MustCompile(`(?i)^(git::|gh:|github\.com[/:]|[a-z][a-z0-9+.-]*://|[a-z][a-z0-9-]*@[^/:]*[/:])`)

func isRemote(value string) bool {
	if remoteForm.MatchString(strings.TrimSpace(value)) {
		return true
	}
	// https:x has no slashes, and is an address to kustomize none the less.
	u, err := url.Parse(value)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}
