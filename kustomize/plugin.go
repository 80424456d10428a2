package kustomize

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// plugins checks the entries of generators, transformers and validators. Each is
// a document, a file of documents, or a directory of such files. For kustomize a
// directory is something to build, and what comes out is the configuration; but a
// build can make up addresses where no check sees them.
func (c *checker) plugins(k *types.Kustomization) {
	for _, f := range []struct {
		field  string
		values []string
	}{{"generators", k.Generators}, {"transformers", k.Transformers}, {"validators", k.Validators}} {
		for i, v := range f.values {
			c.plugin(fmt.Sprintf("%s[%d]", f.field, i), v)
		}
	}
}

func (c *checker) plugin(field, value string) {
	if isInline(value) {
		if !c.remote(field, value) {
			c.pluginConfig(field, "", []byte(value))
		}
		return
	}
	c.path(field, value, c.pluginConfig)
	if real, info, err := c.src.stat(path.Join(c.dir, value)); c.err == nil && err == nil && info.IsDir() {
		c.pluginDir(field, real, map[string]bool{})
	}
}

// pluginDir checks a directory of plugin configurations: a kustomization that lists
// files, or directories that do, and nothing else. Then what kustomize builds is
// what is in the files. The paths in them start at the directory of the
// kustomization that names the plugins.
func (c *checker) pluginDir(field, dir string, done map[string]bool) {
	if done[dir] || c.err != nil {
		return
	}
	done[dir] = true
	name, err := c.src.kustomizationOf(dir)
	if err != nil || name == "" {
		c.fail(c.file, field, err) // or kustomize will say so
		return
	}
	inner := &checker{guard: c.guard, file: path.Join(dir, name), dir: dir}
	k, err := onlyResources(c.src, inner.file)
	if err != nil {
		c.refuse(field, dir, err.Error())
		return
	}
	for i, value := range k.Resources {
		at := fmt.Sprintf("resources[%d]", i)
		inner.path(at, value, func(_, name string, data []byte) { c.pluginConfig(field, name, data) })
		if real, info, err := c.src.stat(path.Join(dir, value)); inner.err == nil && err == nil && info.IsDir() {
			c.pluginDir(field, real, done)
		}
	}
	if c.err == nil {
		c.err = inner.err
	}
}

var errNotOnlyResources = errors.New("a directory can configure plugins only with a kustomization that has nothing but resources: name the files")

// onlyResources reads a kustomization that does nothing.
func onlyResources(src *source, file string) (k types.Kustomization, err error) {
	data, err := src.read(file)
	if err != nil {
		return k, err
	}
	if err := k.Unmarshal(data); err != nil {
		return k, err
	}
	rest := k
	rest.Resources = nil
	if rest.TypeMeta.Kind == types.ComponentKind || rest.CheckEmpty() == nil {
		return k, errNotOnlyResources
	}
	return k, nil
}

// pluginConfig checks the documents of a plugin's configuration.
func (c *checker) pluginConfig(field, name string, data []byte) {
	docs, err := c.parse(cmp.Or(name, c.file), data)
	if err != nil {
		c.fault(field, err)
		return
	}
	for _, doc := range docs {
		c.pluginDoc(field, doc)
	}
}

func (c *checker) pluginDoc(field string, doc *yaml.RNode) {
	kind := doc.GetKind()
	switch {
	case kind == "":
		c.fault(field, errors.New("a plugin's configuration is an object, and this has no kind"))
	case strings.HasSuffix(strings.ToLower(kind), "list"):
		c.refuse(field, kind, "lists of plugin configurations are not taken: write one document for each")
	case doc.GetApiVersion() != konfig.BuiltinPluginApiVersion:
		c.refuse(field, doc.GetApiVersion()+"/"+kind, "this plugin is a program or a container to run: only those with apiVersion builtin are not")
	case strings.EqualFold(kind, "HelmChartInflationGenerator"):
		c.refuse(field, kind, "inflating a Helm chart runs a program")
	}
	raw, err := doc.MarshalJSON()
	if err != nil {
		c.fault(field, err)
		return
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		c.fault(field, err)
		return
	}
	c.pluginFields(field+" "+kind, config)
}

// pluginFields checks the fields of builtin plugins that name files, whatever the
// kind. Names are compared as the decoder does it, without regard to case.
func (c *checker) pluginFields(field string, config map[string]any) {
	use := c.publish // whatever makes of a file what is no Secret
	if config["kind"] == "SecretGenerator" {
		use = nil
	}
	read := func(field, file string) { c.generatorFile(field, file, use) }
	for key, value := range config {
		at := field + "." + key
		switch strings.ToLower(key) {
		case "path":
			c.eachString(value, func(v string) { c.path(at, v, c.patch) })
		case "paths":
			c.eachString(value, func(v string) { c.pathOrInline(at, v) })
		case "files":
			c.eachString(value, func(v string) { c.source(at, v, read) })
		case "env", "envs":
			c.eachString(value, func(v string) { read(at, v) })
		case "targetfilepath":
			c.eachString(value, func(v string) { c.path(at, v, nil) })
		case "patch", "patches", "jsonop":
			c.eachString(value, func(v string) { c.inline(at, v) })
		case "replacements":
			c.replacements(at, value)
		}
	}
}

func (c *checker) replacements(field string, value any) {
	list, _ := value.([]any)
	for i, item := range list {
		fields, _ := item.(map[string]any)
		for key, v := range fields {
			if strings.EqualFold(key, "path") {
				at := fmt.Sprintf("%s[%d].%s", field, i, key)
				c.eachString(v, func(v string) { c.path(at, v, c.replacementFile) })
			}
		}
		if raw, err := json.Marshal(fields); err == nil {
			c.replacementFile(fmt.Sprintf("%s[%d]", field, i), "", raw)
		}
	}
}

// eachString calls f with a string, or with those in a list.
func (c *checker) eachString(value any, f func(string)) {
	switch value := value.(type) {
	case string:
		f(value)
	case []any:
		for _, v := range value {
			c.eachString(v, f)
		}
	}
}
