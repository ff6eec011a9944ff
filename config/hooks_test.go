package config

import (
	"errors"
	"strings"
	"testing"

	"bg/hint"
)

// webhook returns the one hook of a file.
func webhook(t *testing.T, yaml string) Hook {
	t.Helper()
	cfg, err := Load(Source{Dir: folder(t, map[string]string{"bg.yml": yaml}), Service: "books-ms"})
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Hooks[0]
}

func TestAWebhookTakesItsSecretsFromTheEnvironment(t *testing.T) {
	h := webhook(t, `hooks: [ { on: failed, webhook: { url: "https://hooks.example/${PATH_OF_IT}", header: { X-Token: "a ${TOKEN}" } } } ]`)
	got, err := h.Fill(lookup(map[string]string{"PATH_OF_IT": "T0/B0", "TOKEN": "b"}))
	if err != nil || got.URL != "https://hooks.example/T0/B0" || got.Header.Get("X-Token") != "a b" || got.Format != "slack" {
		t.Errorf("%+v, %v", got, err)
	}
	if h.Webhook.Header.Get("X-Token") != "a ${TOKEN}" {
		t.Error("the configuration was changed")
	}
}

func TestAVariableThatIsNotSetIsNamedWithThePlaceOfItsHook(t *testing.T) {
	h := webhook(t, "hooks:\n  - on: failed\n    webhook: { url: \"${SLACK_URL}\" }\n")
	_, err := h.Fill(lookup(nil))
	if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), "bg.yml:2:") || !strings.Contains(err.Error(), "SLACK_URL") || !strings.Contains(hint.Of(err), "SLACK_URL") {
		t.Errorf("%v, hint: %s", err, hint.Of(err))
	}
}

func TestAFilledInAddressThatIsNoURLIsRefusedAndNotShown(t *testing.T) {
	h := webhook(t, `hooks: [ { on: failed, webhook: { url: "${SLACK_URL}" } } ]`)
	_, err := h.Fill(lookup(map[string]string{"SLACK_URL": "secret-without-scheme"}))
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}
