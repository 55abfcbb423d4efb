"""The tests that ``pytest -m "not slow"`` leaves out, so that the rest takes less than 90 seconds on two cores.

Every area keeps some of its tests in the fast lane. A test belongs here if it takes more than about two seconds, or if
another one like it stays: PostgreSQL beside SQLite, many vendors beside three.
"""

from __future__ import annotations

#: Vendors of three kinds, for which the contract suite stays: binary answers, another API, OpenAI's API.
FAST_CASES = ("elevenlabs-eleven-v4", "elevenlabs-scribe", "deepgram-nova", "openai-compatible")
#: The same tests on another database.
SLOW_VARIANTS = ("[postgresql", "-postgresql")

#: Whole files, and single tests with all of their parameters.
SLOW = (
    "tests/accounting/test_commands.py::test_a_client_of_litellm_keeps_its_key",
    "tests/accounting/test_commands.py::test_a_taken_alias_leaves_the_key_out",
    "tests/accounting/test_commands.py::test_create_list_and_revoke",
    "tests/accounting/test_commands.py::test_what_a_row_says",
    "tests/accounting/test_commands.py::test_what_cannot_be_created",
    "tests/accounting/test_cost.py::test_characters_add_up",
    "tests/accounting/test_crashes.py",
    "tests/accounting/test_keys.py::test_while_the_database_is_away_known_keys_go_on_and_unknown_ones_wait",
    "tests/accounting/test_ledger.py::test_the_limit_of_a_files_size_loses_nothing",
    "tests/accounting/test_ledger.py::test_two_processes_lose_and_double_nothing",
    "tests/accounting/test_servers.py::test_a_database_url_that_cannot_be_used_is_not_repeated",
    "tests/accounting/test_servers.py::test_a_key_lives_and_ends_on_every_server_of_a_database",
    "tests/accounting/test_servers.py::test_a_newer_database_ends_the_start",
    "tests/accounting/test_servers.py::test_a_place_that_cannot_be_written_is_named",
    "tests/accounting/test_servers.py::test_without_its_database_a_server_serves_the_keys_that_it_knows",
    "tests/audio/test_hostile.py::test_cpu_time_is_bounded",
    "tests/audio/test_pool.py::test_fifty_jobs_over_two_workers",
    "tests/front/test_billing.py::test_exact_usage_takes_the_audio_out_of_events",
    "tests/front/test_billing.py::test_speech_without_a_count_of_tokens_is_estimated_whatever_the_format",
    "tests/front/test_billing.py::test_the_response_format_does_not_decide_what_a_transcript_costs",
    "tests/front/test_catalog.py::test_a_group_can_do_what_any_of_its_deployments_can",
    "tests/front/test_catalog.py::test_names_with_slashes_and_spaces_are_retrieved",
    "tests/front/test_chaos.py",
    "tests/front/test_command.py::test_an_invalid_port_is_refused",
    "tests/front/test_command.py::test_an_unusable_certificate_is_reported_without_a_traceback",
    "tests/front/test_command.py::test_check_rejects_a_file_that_is_not_a_configuration",
    "tests/front/test_command.py::test_it_serves_although_its_output_is_not_read",
    "tests/front/test_command.py::test_the_configuration_named_by_the_environment_and_the_default_file",
    "tests/front/test_command.py::test_the_master_key_from_the_environment",
    "tests/front/test_keys.py::test_while_the_master_key_can_be_guessed_keys_are_made_on_the_machine_only",
    "tests/front/test_keys.py::test_without_a_master_key_nobody_administers",
    "tests/front/test_metrics.py::test_any_of_several_workers_answers_for_all",
    "tests/front/test_metrics.py::test_counts_outlive_a_worker_that_dies",
    "tests/front/test_metrics.py::test_the_folder_of_the_workers_goes_with_them",
    "tests/front/test_probe.py::test_a_probe_needs_the_master_key",
    "tests/front/test_probe.py::test_background_checks_take_the_sick_out_and_the_recovered_back",
    "tests/front/test_reload.py::test_a_new_configuration_takes_over",
    "tests/front/test_reload.py::test_reload_under_load_fails_no_call_and_counters_survive",
    "tests/front/test_routing.py::test_a_large_upload_is_retried_twice_and_never_held_in_memory",
    "tests/front/test_routing.py::test_num_retries",
    "tests/front/test_sdk_2x.py",
    "tests/front/test_shutdowns.py::test_the_start_warns_once",
    "tests/front/test_sinks.py::test_a_class_of_ones_own",
    "tests/front/test_sinks.py::test_a_reload_changes_the_sinks",
    "tests/front/test_sinks.py::test_no_call_waits_for_a_bad_webhook",
    "tests/front/test_sinks.py::test_s3_gets_json_lines",
    "tests/front/test_sinks.py::test_success_and_failure_callbacks_get_their_own",
    "tests/front/test_sinks.py::test_the_names_and_variables_of_litellm",
    "tests/front/test_sinks.py::test_what_waits_is_sent_before_the_server_ends",
    "tests/providers/test_realtime.py::test_long_inputs_are_read_whole",
    "tests/providers/test_realtime.py::test_the_python_functions_stream",
    "tests/sdk/test_import.py",
    "tests/serving/test_file_limit.py",
    "tests/serving/test_stop.py",
    "tests/serving/test_supervisor.py",
)


def is_slow(test: str) -> bool:
    """``test`` is a node's id, such as ``tests/audio/test_pool.py::test_idle_workers_end[uvloop]``."""
    name, _, parameters = test.partition("[")
    if name in SLOW or name.partition("::")[0] in SLOW or any(variant in test for variant in SLOW_VARIANTS):
        return True
    return "/test_contract_" in name and bool(parameters) and not parameters.startswith(FAST_CASES)
