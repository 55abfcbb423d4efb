"""The tests that ``pytest -m "not slow"`` leaves out, so that the rest takes less than 90 seconds on two cores.

Every area keeps some of its tests in the fast lane. A test belongs here if it takes more than about two seconds, or if
another one like it stays: PostgreSQL beside SQLite, uvloop beside asyncio, many vendors beside three.
"""

from __future__ import annotations

from collections.abc import Collection

#: Vendors of three kinds, for which the contract suite stays: binary answers, another API, OpenAI's API.
FAST_CASES = ("elevenlabs-eleven-v4", "elevenlabs-scribe", "deepgram-nova", "openai-compatible")
#: The same tests on another database or event loop.
SLOW_VARIANTS = ("[postgresql", "-postgresql", "[uvloop", "-uvloop")
#: The fixture that starts a server of the test's own.
SLOW_FIXTURE = "serve"
#: These stay all the same, so that a broken area shows.
FAST = (
    "tests/front/test_access.py::test_allow_unauthenticated_opens_the_door",
    "tests/front/test_billing.py::test_who_called_and_for_whom",
    "tests/front/test_command.py::test_check_prints_a_table_of_groups_and_deployments",
    "tests/front/test_command.py::test_version_and_help",
    "tests/front/test_metrics.py::test_any_of_several_workers_answers_for_all",
    "tests/front/test_metrics.py::test_retries_fallbacks_and_attempts",
    "tests/front/test_reload.py::test_a_running_call_finishes_on_the_old_configuration",
    "tests/front/test_sinks.py::test_a_webhook_gets_signed_rows",
    "tests/front/test_traces.py::test_a_call_is_a_trace",
    "tests/front/test_uploads.py::test_max_request_size_mb_bounds_every_body",
    "tests/front/test_voices.py::test_of_every_model_that_speaks",
)
#: Whole files, and single tests with all of their parameters.
SLOW = (
    "tests/accounting/test_commands.py",
    "tests/accounting/test_cost.py::test_characters_add_up",
    "tests/accounting/test_cost.py::test_the_command_finds_a_model_without_its_vendor",
    "tests/accounting/test_cost.py::test_the_command_prints_one_model_with_source_and_date",
    "tests/accounting/test_cost.py::test_the_command_says_that_a_model_has_no_price",
    "tests/accounting/test_crashes.py",
    "tests/accounting/test_keys.py::test_while_the_database_is_away_known_keys_go_on_and_unknown_ones_wait",
    "tests/accounting/test_ledger.py::test_the_limit_of_a_files_size_loses_nothing",
    "tests/accounting/test_ledger.py::test_two_processes_lose_and_double_nothing",
    "tests/accounting/test_servers.py",
    "tests/audio/test_codec.py::test_transcoding_is_a_stream_too",
    "tests/audio/test_duration.py::test_every_format_in_pieces_of_any_size",
    "tests/audio/test_hostile.py::test_cpu_time_is_bounded",
    "tests/audio/test_hostile.py::test_ten_hours_of_silence_in_three_megabytes",
    "tests/audio/test_pool.py::test_fifty_jobs_over_two_workers",
    "tests/audio/test_tempo.py::test_the_length_changes_by_the_factor",
    "tests/config/test_secrets.py::test_any_text_loads_or_is_refused",
    "tests/engines/test_transcription.py::test_a_stream_tells_each_segment_when_it_is_final",
    "tests/engines/test_transcription.py::test_an_upload_at_hand_is_used_where_it_lies",
    "tests/engines/test_transcription.py::test_leaving_a_stream_early_frees_the_process",
    "tests/engines/test_transcription.py::test_uvloop_does_as_well",
    "tests/front/test_billing.py",
    "tests/front/test_calls.py::test_failed_calls_are_paged",
    "tests/front/test_calls.py::test_follow_shows_each_new_call_once_until_it_is_interrupted",
    "tests/front/test_calls.py::test_the_command_finds_a_call_by_its_id",
    "tests/front/test_calls.py::test_the_command_lists_the_newest_last",
    "tests/front/test_calls.py::test_the_command_refuses_what_it_does_not_understand",
    "tests/front/test_chaos.py",
    "tests/front/test_chat_translation.py",
    "tests/front/test_command.py",
    "tests/front/test_data.py::test_a_database_that_the_server_does_not_use_is_reported_at_startup",
    "tests/front/test_demo_and_init.py",
    "tests/front/test_errors.py::test_odd_transcripts_are_no_errors_of_ours",
    "tests/front/test_fuzz.py",
    "tests/front/test_keys.py",
    "tests/front/test_local.py::test_every_transcript_format",
    "tests/front/test_local.py::test_hostile_uploads_are_refused_and_the_server_lives",
    "tests/front/test_long_and_fast_speech.py",
    "tests/front/test_metrics.py",
    "tests/front/test_routing.py",
    "tests/front/test_sdk_2x.py",
    "tests/front/test_sinks.py::test_mistakes_are_told",
    "tests/front/test_speech_bytes.py::test_what_was_asked_for_is_what_comes",
    "tests/front/test_traces.py::test_mistakes_are_told",
    "tests/front/test_uploads.py::test_memory_does_not_grow_with_the_file_and_no_file_is_left",
    "tests/front/test_usage.py::test_a_filter_is_a_value_and_nothing_else",
    "tests/front/test_usage.py::test_the_command_prints_the_same",
    "tests/guardrails/test_events.py::test_a_number_never_leaves_however_the_stream_is_cut",
    "tests/guardrails/test_pii.py::test_a_long_text_takes_no_longer_than_its_length",
    "tests/guardrails/test_redaction.py::test_no_digit_of_a_number_is_left_anywhere",
    "tests/http/test_transport.py::test_a_thousand_streams_at_once",
    "tests/providers/test_azure_speech.py::test_translation_through_the_proxy",
    "tests/providers/test_contract_transcription.py::test_a_large_upload_passes_through_without_being_held",
    "tests/providers/test_contract_transcription.py::test_lies_are_told_from_transcripts",
    "tests/providers/test_realtime.py",
    "tests/routing/test_outcomes.py",
    "tests/routing/test_strategies.py::test_simple_shuffle_follows_the_weights",
    "tests/sdk/test_import.py",
    "tests/sdk/test_local.py::test_in_a_loop_and_as_a_stream",
    "tests/sdk/test_samples.py",
    "tests/serving/test_file_limit.py",
    "tests/serving/test_stop.py",
    "tests/serving/test_supervisor.py",
    "tests/upstream/test_websocket.py::test_many_tiny_messages_count_as_more_than_their_bytes",
)


def is_slow(test: str, fixtures: Collection[str] = ()) -> bool:
    """``test`` is a node's id, such as ``tests/audio/test_pool.py::test_idle_workers_end[uvloop]``."""
    name, _, parameters = test.partition("[")
    if name in FAST:
        return False
    if name in SLOW or name.partition("::")[0] in SLOW or SLOW_FIXTURE in fixtures:
        return True
    if any(variant in test for variant in SLOW_VARIANTS):
        return True
    return "/test_contract_" in name and bool(parameters) and not parameters.startswith(FAST_CASES)
