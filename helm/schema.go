package helm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"helm.sh/helm/v3/pkg/chart"
)

// schemaDepth is how deep the objects and lists of a schema may be nested.
const schemaDepth = 100

// validate holds the values of a chart and its subcharts against their schemas.
//
// A schema can be written so that the check takes for ever, and the validator
// cannot be told to stop; when the context ends, it is left behind.
func validate(ctx context.Context, c *chart.Chart, values map[string]any) error {
	done := make(chan error, 1)
	go func() { done <- validateTree(c, values) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func validateTree(c *chart.Chart, values map[string]any) error {
	if c.Schema != nil {
		if err := guard(func() error { return validateOne(c, values) }); err != nil {
			if errors.Is(err, ErrValues) {
				return err
			}
			return &ChartError{Chart: c.ChartFullPath(), File: "values.schema.json", Err: err}
		}
	}
	for _, sub := range c.Dependencies() {
		switch own := values[sub.Name()].(type) {
		case nil:
		case map[string]any:
			if err := validateTree(sub, own); err != nil {
				return err
			}
		default:
			return &ValuesError{Chart: c.ChartFullPath(), Violations: []string{fmt.Sprintf("/%s: a subchart's values are an object", sub.Name())}}
		}
	}
	return nil
}

func validateOne(c *chart.Chart, values map[string]any) error {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(c.Schema))
	if err != nil {
		return fmt.Errorf("it is not JSON: %w", err)
	}
	if deeperThan(document, schemaDepth) {
		return fmt.Errorf("it is nested deeper than %d; make it flatter", schemaDepth)
	}
	// Values may hold Go types that only JSON turns into its own.
	plain, err := asJSON(values)
	if err != nil {
		return err
	}
	const name = "values.schema.json"
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource(name, document); err != nil {
		return err
	}
	schema, err := compiler.Compile(name)
	if err != nil {
		return err
	}
	var invalid *jsonschema.ValidationError
	if err := schema.Validate(plain); errors.As(err, &invalid) {
		return &ValuesError{Chart: c.ChartFullPath(), Violations: violations(invalid)}
	} else if err != nil {
		return err
	}
	return nil
}

func asJSON(v map[string]any) (any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

// noLoader refuses to follow a reference out of the schema.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("it refers to %s: references to files and networks are not followed; put the definition into the schema", url)
}

// violations lists where values are wrong and why, without the values.
func violations(err *jsonschema.ValidationError) []string {
	if len(err.Causes) == 0 {
		return []string{"/" + strings.Join(err.InstanceLocation, "/") + ": " + reason(err.ErrorKind)}
	}
	var list []string
	for _, cause := range err.Causes {
		list = append(list, violations(cause)...)
	}
	return list
}

func reason(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return fmt.Sprintf("got %s, want %s", k.Got, strings.Join(k.Want, " or "))
	case *kind.Required:
		return "missing " + strings.Join(k.Missing, ", ")
	case *kind.AdditionalProperties:
		return "unknown " + strings.Join(k.Properties, ", ")
	default:
		return "violates " + strings.Join(k.KeywordPath(), "/")
	}
}

func deeperThan(v any, depth int) bool {
	if depth < 0 {
		return true
	}
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			if deeperThan(item, depth-1) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if deeperThan(item, depth-1) {
				return true
			}
		}
	}
	return false
}
