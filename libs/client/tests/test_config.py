"""Where addresses and secrets come from, and where a stack's token must not go."""

import json

import pytest

from modelport import config


@pytest.fixture
def home(tmp_path):
    stack = {"gateway_url": "http://gw:1", "proxy_url": "http://px:2", "token": "mp_stack", "processes": {"gateway": 1}}
    (tmp_path / "stack.json").write_text(json.dumps(stack))
    return {"MODELPORT_HOME": str(tmp_path)}


def test_the_stack_is_the_last_resort(home):
    assert config.load({}, home) == config.Config(url="http://gw:1", token="mp_stack", proxy_url="http://px:2")


def test_the_environment_is_stronger_than_the_stack(home):
    found = config.load({}, home | {"MODELPORT_TOKEN": "mp_env", "MODELPORT_API_KEY": "pk_env"})
    assert (found.token, found.api_key, found.url) == ("mp_env", "pk_env", "http://gw:1")


def test_options_are_stronger_than_the_environment(home):
    assert config.load({"token": "mp_opt"}, home | {"MODELPORT_TOKEN": "mp_env"}).token == "mp_opt"


def test_the_stacks_token_is_not_sent_to_another_address(home):
    assert config.load({"url": "http://elsewhere"}, home).token == ""


def test_what_is_missing_is_said_with_its_option_and_variable(tmp_path):
    with pytest.raises(config.ConfigError, match="No proxy url") as caught:
        config.load({}, {"MODELPORT_HOME": str(tmp_path)}).require("proxy_url")
    assert "--proxy-url" in caught.value.hint
    assert "MODELPORT_PROXY_URL" in caught.value.hint


def test_a_broken_stack_file_is_an_error_and_not_ignored(tmp_path):
    (tmp_path / "stack.json").write_text("{")
    with pytest.raises(config.ConfigError, match="cannot be read"):
        config.load({}, {"MODELPORT_HOME": str(tmp_path)})
