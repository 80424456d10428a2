package conditions_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gitopskit/gitopskit/conditions"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// App is a custom resource of somebody's controller.
type App struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Status struct {
		Conditions []metav1.Condition `json:"conditions"`
	} `json:"status"`
}

func (a *App) GetConditions() []metav1.Condition  { return a.Status.Conditions }
func (a *App) SetConditions(c []metav1.Condition) { a.Status.Conditions = c }

func show(a *App) {
	for _, c := range a.Status.Conditions {
		fmt.Printf("%s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
}

// A reconcile begins, fails with something that will be tried again, and succeeds.
func Example() {
	app := &App{ObjectMeta: metav1.ObjectMeta{Name: "shop", Generation: 1}}
	now := time.Now()

	conditions.MarkReconciling(app, "Progressing", "applying main@sha1:1f0c", now)
	conditions.MarkFalse(app, conditions.Ready, "ApplyFailed", "the server is away", now)
	show(app)

	conditions.MarkReady(app, "Succeeded", "applied main@sha1:1f0c", now)
	show(app)
	// Output:
	// Reconciling=True Progressing: applying main@sha1:1f0c
	// Ready=False ApplyFailed: the server is away
	// Ready=True Succeeded: applied main@sha1:1f0c
}

func ExampleMarkStalled() {
	app := &App{}
	conditions.MarkReconciling(app, "Progressing", "fetching", time.Now())
	conditions.MarkStalled(app, "InvalidURL", `scheme "fpt" is not supported, use https or ssh`, time.Now())
	show(app)
	// Output:
	// Ready=False InvalidURL: scheme "fpt" is not supported, use https or ssh
	// Stalled=True InvalidURL: scheme "fpt" is not supported, use https or ssh
}

func ExampleSummarize() {
	app := &App{}
	now := time.Now()
	conditions.MarkTrue(app, "Built", "Succeeded", "built 12 objects", now)
	conditions.MarkTrue(app, "FetchFailed", "Timeout", "no answer in 30s", now)

	ready := conditions.Summarize(app, conditions.SummaryOptions{
		Of:       []string{"FetchFailed", "Built"},
		Negative: []string{"FetchFailed"},
	})
	conditions.Set(app, ready, now)
	show(app)
	// Output:
	// Built=True Succeeded: built 12 objects
	// FetchFailed=True Timeout: no answer in 30s
	// Ready=False Timeout: no answer in 30s
}

// DeepCopyObject is generated in most programs.
func (a *App) DeepCopyObject() runtime.Object {
	out := *a
	out.ObjectMeta = *a.ObjectMeta.DeepCopy()
	out.Status.Conditions = append([]metav1.Condition(nil), a.Status.Conditions...)
	return &out
}

// printing stands for a client here. With controller-runtime, Get is
// reader.Get(ctx, client.ObjectKeyFromObject(obj), obj) of its API reader, and Patch
// is c.Status().Patch(ctx, obj, client.RawPatch(types.MergePatchType, patch)), without
// Status() where the subresource is empty.
type printing struct{}

func (printing) Get(context.Context, conditions.Object) error { return nil }

func (printing) Patch(_ context.Context, _ conditions.Object, patch []byte, subresource string) error {
	fmt.Println("PATCH", subresource, len(patch) > 0)
	return nil
}

// One request for a status, none where nothing changed.
func ExamplePatcher() {
	ctx := context.Background()
	app := &App{ObjectMeta: metav1.ObjectMeta{Name: "shop", ResourceVersion: "42", Generation: 1}}
	patcher, err := conditions.NewPatcher(app, conditions.PatchOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	conditions.MarkReady(app, "Succeeded", "applied main@sha1:1f0c", time.Now())
	res, err := patcher.Patch(ctx, printing{})
	fmt.Println(res.Requests, err)
	res, err = patcher.Patch(ctx, printing{})
	fmt.Println(res.Requests, err)
	// Output:
	// PATCH status true
	// 1 <nil>
	// 0 <nil>
}
