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
// a document or a file of documents. A directory would do for kustomize too, but
// then the configuration is itself the result of a build, which could make up
// addresses where no check sees them.
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
	if _, info, err := c.src.stat(path.Join(c.dir, value)); err == nil && info.IsDir() {
		c.refuse(field, value, "a directory cannot configure plugins: name a file")
	}
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
				c.eachString(v, func(v string) { c.path(at, v, nil) })
			}
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
