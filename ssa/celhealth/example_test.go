package celhealth_test

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/ssa/celhealth"
)

func ExampleNew() {
	checks, err := celhealth.New([]celhealth.Rule{{
		APIVersion: "example.com/v1",
		Kind:       "Database",
		Current:    `status.conditions.exists(c, c.type == "Online" && c.status == "True")`,
		Failed:     `status.phase == "Lost"`,
	}}, celhealth.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	// They go into ssa.WaitOptions.Checks, which calls them like this.
	db := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"phase": "Lost"}}}
	status, message, err := checks[0].Func(context.Background(), db)
	fmt.Println(status, message, err)
	// Output: Failed its health expression for Failed holds <nil>
}
