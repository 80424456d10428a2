package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func deleteBody(o metav1.DeleteOptions) ([]byte, error) {
	o.TypeMeta = metav1.TypeMeta{Kind: "DeleteOptions", APIVersion: "v1"}
	return json.Marshal(o)
}

// TypeNotServed tells "the server does not know this resource" (a plain 404 of
// its router) from "this object does not exist" (a Status that names it).
func TypeNotServed(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) ||
		status.Status().Details == nil || status.Status().Details.Name == "" && status.Status().Details.Kind == ""
}

// Unreachable reports that no API server answered, as opposed to one that
// refused. A request that the caller's context ended is not that.
func Unreachable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return false
	}
	var netErr net.Error
	var urlErr *url.Error
	return errors.As(err, &netErr) || errors.As(err, &urlErr)
}

// Explain is the error for people: the server's own message, or the network's
// reason without method and URL. For a Secret it names the fields that were
// refused and leaves out every text that may quote a value.
func Explain(err error, secret bool) string {
	if secret {
		return explainSecret(err)
	}
	switch e := err.(type) { //nolint:errorlint // what wraps one of these says more than it does
	case apierrors.APIStatus:
		return e.Status().Message
	case *url.Error:
		return e.Err.Error()
	}
	return err.Error()
}

func explainSecret(err error) string {
	const withheld = " (details withheld: they may quote a secret value)"
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return "the request failed" + withheld
	}
	s := status.Status()
	msg := fmt.Sprintf("the server answered %d %s", s.Code, s.Reason)
	var fields []string
	if s.Details != nil {
		for _, c := range s.Details.Causes {
			if c.Field != "" {
				fields = append(fields, c.Field)
			}
		}
	}
	if len(fields) > 0 {
		msg += " for " + strings.Join(fields, ", ")
	}
	return msg + withheld
}
