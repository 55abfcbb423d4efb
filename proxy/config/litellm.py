"""The settings that LiteLLM has and this proxy does not support. Data only, from LiteLLM's published reference.

Sources: docs.litellm.ai "config_settings", "configs" and "config_management"; ``litellm/types/router.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Section(NamedTuple):
    """The settings of one section, by the consequence of ignoring them. The values are reasons, for messages."""

    #: Settings that protect somebody: who may call, what may be said, what may be spent. Ignoring them would remove a
    #: protection silently, so they are errors unless they are off (false, 0, empty).
    refused: Mapping[str, str] = MappingProxyType({})
    #: Settings that change what callers or operators see. Each gets its own warning.
    warned: Mapping[str, str] = MappingProxyType({})
    #: Settings about chat, databases, user interfaces or virtual keys. One warning names them all.
    ignored: frozenset[str] = frozenset()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Callbacks that the proxy always has.
BUILT_IN_CALLBACKS = frozenset({"prometheus"})
CALLBACK_KEYS = _words(
    """
    callbacks success_callback failure_callback service_callback service_callbacks input_callback
    audit_log_callbacks post_call_rules pre_call_rules
    """
)

#: Which calls each list of callbacks gets: those that succeeded, those that failed.
CALLBACK_LISTS: Mapping[str, tuple[bool, bool]] = {
    "callbacks": (True, True),
    "success_callback": (True, False),
    "failure_callback": (False, True),
}
#: The proxy never sends content, and a batch is always one JSON array.
CALLBACK_SETTINGS = Section(ignored=_words("message_logging log_format event_types"))
#: The callbacks that use ``s3_callback_params``, and its names for the settings of all sinks.
S3_CALLBACKS = frozenset({"s3", "s3_v2"})
S3_PARAM_ALIASES: Mapping[str, str] = {"s3_batch_size": "batch_size", "s3_flush_interval": "flush_interval"}

#: LiteLLM's other names for supported keys.
PARAM_ALIASES: Mapping[str, str] = {
    "extra_headers": "headers",
    "base_url": "api_base",
    "stream_idle_timeout": "stall_timeout",
}

#: Values of ``model_info.mode`` that are not audio.
OTHER_MODES = _words(
    """
    chat completion embedding embeddings image_generation image_edit video_generation moderation moderations rerank
    responses realtime batch search vector_store ocr messages
    """
)

#: Prefixes of ``model`` that name LiteLLM's providers. A provider that the proxy does not support must not be treated
#: as a model of openai, because its key would be sent to OpenAI.
PROVIDERS = _words(
    """
    a2a_agent abliteration ai21 ai21_chat aiml aiohttp_openai amazon_nova anthropic anthropic_text anyscale apertis
    assemblyai auto_router aws_polly azure azure_ai azure_text baseten bedrock bedrock_converse bytez cartesia
    cerebras chatgpt chutes clarifai cloudflare codestral cohere cohere_chat cometapi compactifai custom
    custom_openai dashscope databricks datarobot deepgram deepinfra deepseek docker_model_runner dotprompt
    elevenlabs empower fal_ai featherless_ai fireworks_ai friendliai galadriel gemini gigachat github github_copilot
    gradient_ai groq helicone heroku hosted_vllm huggingface hyperbolic infinity inworld jina_ai lambda_ai langgraph
    lemonade litellm_proxy llamafile llamagate lm_studio manus maritalk meta_llama minimax mistral moonshot morph
    nano-gpt nebius nlp_cloud novita nscale nvidia_nim nvidia_riva oci ollama ollama_chat oobabooga openai
    openai_like openrouter ovhcloud palm perplexity petals playht poe predibase publicai pydantic_ai_agents ragflow
    recraft replicate rime runwayml s3_vectors sagemaker sagemaker_chat sambanova sap sarvam snowflake soniox
    speechmatics stability synthetic text-completion-codestral text-completion-inception text-completion-openai
    together_ai topaz triton v0 vercel_ai_gateway vertex_ai vertex_ai_beta vllm volcengine voyage wandb watsonx
    watsonx_text xai xinference xiaomi_mimo zai
    """
)

#: Providers that stand for any server with OpenAI's API, at ``api_base``.
OPENAI_COMPATIBLE = _words(
    """
    aiohttp_openai custom custom_openai litellm_proxy llamafile lm_studio openai_like vllm xinference
    """
)


# -- the file's top level ----------------------------------------------------------------------------------------------

TOP = Section(
    refused={
        "policies": "guardrail policies are not supported",
        "policy_attachments": "guardrail policies are not supported",
    },
    ignored=_words(
        """
        agent_list agents assistant_settings compression_settings credential_list files_settings
        finetune_settings mcp_aliases mcp_server_config mcp_servers mcp_tools prompts sandbox_tools search_tools
        vector_store_registry vector_stores worker_registry
        """
    ),
)

#: Settings that are off when they are true.
OFF_IF_TRUE = frozenset({"ssl_verify"})

# -- an audio entry of model_list --------------------------------------------------------------------------------------

_OF_ONE_MODEL = "guardrails of a single model are not supported; use default_on, teams, keys or requests"
ENTRY = Section(
    refused={
        "guardrails": _OF_ONE_MODEL,
        "model_max_budget": "budgets are not supported",
    },
    ignored=_words("access_groups blocked model_id rpm tpm"),
)

PARAMS = Section(
    refused={
        "guardrails": _OF_ONE_MODEL,
        "max_budget": "budgets are not supported",
        "litellm_credential_name": "credential_list is not supported; set api_key and api_base in the entry",
        "mock_response": "mock responses are not supported; the vendor would be called",
        "mock_timeout": "mock responses are not supported; the vendor would be called",
        "default_api_key_rpm_limit": "limits for each key are not supported",
    },
    warned={
        "ssl_verify": "certificates are verified against the system's authorities",
        "tags": "requests are not routed by tags",
        "tag_regex": "requests are not routed by tags",
    },
    ignored=_words(
        """
        acompletion additional_drop_params adaptive_router_config adaptive_router_default_model
        allow_client_keepalive_override allowed_openai_params atranscription audio auto_router_config
        auto_router_config_path auto_router_default_model auto_router_embedding_model aws_access_key_id
        aws_bedrock_runtime_endpoint aws_external_id aws_profile_name aws_region_name aws_role_name
        aws_secret_access_key aws_session_name aws_session_token aws_sts_endpoint aws_web_identity_token
        azure_ad_token_provider azure_password azure_scope azure_username bucket_name budget_duration cache
        cache_control_injection_points caching client_id client_secret client_side_fallbacks complexity_router_config
        complexity_router_default_model configurable_clientside_auth_params cooldown_time custom_prompt_dict
        default_api_key_tpm_limit deployment_id disable_add_transform_inline_image_block drop_params
        enable_json_schema_validation ensure_alternating_roles extra_body force_timeout frequency_penalty function_call
        functions gcs_bucket_name hf_model_name id input_type itpm keepalive_seconds language litellm_session_id
        litellm_trace_id logger_fn logit_bias logprobs max_completion_tokens max_tokens
        merge_reasoning_content_in_choices metadata model_info model_list modalities n no-log num_retries otpm
        parallel_tool_calls prediction presence_penalty prompt prompt_id prompt_variables provider_affinity_header
        quality_router_config quality_router_default_model reasoning_effort region_name response_format roles
        s3_bucket_name seed service_tier speed stop store stream stream_options supports_system_message temperature
        tenant_id thinking tool_choice tools top_k top_logprobs top_p tpm ttft_timeout use_chat_completions_api
        use_in_pass_through use_litellm_proxy user verbosity vector_store_id vertex_credentials vertex_location
        vertex_project watsonx_region_name web_search_options cache_creation_input_token_cost
        cache_creation_input_audio_token_cost tiered_pricing
        """
    ),
)

MODEL_INFO = Section(
    refused={
        "blocked": "blocked deployments are not supported; remove the entry",
        "access_windows": "access windows are not supported",
    },
    ignored=_words(
        """
        access_groups allow_fail_open allowed_openai_params created_at created_by db_model description
        disable_background_health_check discoverable enable_tag_filtering health_check_max_tokens health_check_model
        health_check_params health_check_timeout health_check_voice input_cost key litellm_provider max_input_tokens
        max_output_tokens max_tokens member_auto_router metadata output_vector_size source supported_endpoints
        supported_environments supported_modalities supported_openai_params supported_output_modalities
        supported_regions supports_assistant_prefill supports_audio_input supports_audio_output
        supports_embedding_image_input supports_function_calling supports_native_streaming
        supports_parallel_function_calling supports_pdf_input supports_prompt_caching supports_reasoning
        supports_response_schema supports_system_messages supports_tool_choice supports_vision supports_web_search
        team_id team_public_model_name tier tpm rpm updated_at updated_by version
        """
    ),
)

# -- general_settings --------------------------------------------------------------------------------------------------

_OTHER_CALLERS = "only the master key opens this proxy"
GENERAL = Section(
    refused={
        "custom_auth": f"custom authentication is not supported; {_OTHER_CALLERS}",
        "enable_jwt_auth": f"JWT authentication is not supported; {_OTHER_CALLERS}",
        "litellm_jwtauth": f"JWT authentication is not supported; {_OTHER_CALLERS}",
        "enable_oauth2_auth": f"OAuth2 authentication is not supported; {_OTHER_CALLERS}",
        "enable_oauth2_proxy_auth": f"OAuth2 authentication is not supported; {_OTHER_CALLERS}",
        "enforce_rbac": "roles are not supported",
        "role_permissions": "roles are not supported",
        "allowed_ips": "an allowlist of addresses is not supported; put it in front of the proxy",
        "allowed_routes": "an allowlist of routes is not supported; put it in front of the proxy",
        "enforced_params": "required request fields are not supported",
        "enforce_user_param": "a required `user` is not supported",
        "key_management_system": "secret managers are not supported; put the keys in environment variables",
        "use_google_kms": "secret managers are not supported; put the keys in environment variables",
        "use_azure_key_vault": "secret managers are not supported; put the keys in environment variables",
    },
    warned={
        "alerting": "no alerts are sent; watch /metrics",
        "max_parallel_requests": "no limit is set on a key's parallel requests",
        "global_max_parallel_requests": "use max_concurrent_streams",
        "max_in_flight_requests_per_worker": "use max_concurrent_streams",
        "max_response_size_mb": "responses of any size are passed on",
        "litellm_key_header_name": "callers send their key as `Authorization: Bearer`",
        "missing_session_id": "sessions are not tracked",
    },
    ignored=_words(
        """
        admin_only_routes admission_queue_timeout_seconds alert_to_webhook_url alert_type_config alert_types
        alerting_args alerting_threshold allow_cli_sso_verification_uri_complete allow_client_side_credentials
        allow_requests_on_db_unavailable allow_unmanaged_response_ids allow_user_auth allowed_file_extensions
        always_include_stream_usage apply_user_budget_to_team_keys auto_redirect_ui_login_to_sso
        background_health_check_model_groups background_health_checks block_robots blocked_file_extensions
        cancel_on_disconnect completion_model control_plane_url coordination_redis custom_auth_run_common_checks
        custom_key_generate custom_key_policy custom_key_update custom_sso custom_ui_sso_sign_in_handler database_args
        database_connect_timeout database_connection_pool_limit database_connection_pool_timeout
        database_connection_timeout database_disable_prepared_statements database_extra_connection_params
        database_lock_timeout database_socket_timeout database_statement_timeout database_type
        default_team_disabled disable_adding_master_key_hash_to_db disable_auto_add_proxy_admin_to_teams
        disable_batch_input_file_rate_limiting disable_budget_reservation disable_env_credential_login
        disable_error_logs disable_master_key_return disable_prisma_schema_update disable_reset_budget
        disable_responses_id_security disable_retry_on_max_parallel_request_limit_error disable_spend_logs
        disable_spend_updates drain_endpoint_token embedding_model enable_drain_endpoint enable_health_check_routing
        enable_mcp_registry enable_public_model_hub enable_post_custom_auth_checks enforce_fallback_budget
        enforce_fallback_model_access fail_closed_budget_enforcement failed_login_window_seconds
        forward_client_headers_to_llm_api forward_llm_provider_auth_headers forward_openai_org_id
        health_check_concurrency health_check_details health_check_ignore_transient_errors
        health_check_skip_disabled_background_models health_check_staleness_threshold image_generation_model
        infer_model_from_keys key_management_settings legacy_unscoped_spend_list_endpoints litellm_license
        max_batch_file_size_mb max_failed_login_attempts max_failed_login_attempts_per_source max_file_size_mb
        max_queued_requests_per_worker maximum_autorouter_session_retention_period maximum_health_check_retention_period
        maximum_spend_logs_cleanup_batch_size maximum_spend_logs_cleanup_batch_timeout maximum_spend_logs_cleanup_cron
        maximum_spend_logs_cleanup_max_batches maximum_spend_logs_cleanup_run_budget
        maximum_spend_logs_retention_interval maximum_spend_logs_retention_period mcp_client_side_auth_header_name
        mcp_internal_ip_ranges mcp_required_fields mcp_trusted_proxy_ranges mcp_xff_num_trusted_hops
        model_list_healthy_only moderation_model oauth2_config_mappings otel pass_through_endpoints
        pass_through_request_timeout plugins provider_url_destination_allowed_hosts proxy_batch_polling_interval
        proxy_batch_write_at proxy_budget_rescheduler_max_time proxy_budget_rescheduler_min_time
        proxy_config_reload_interval_seconds public_routes redis_db redis_host redis_password redis_port redis_url
        reject_clientside_metadata_tags require_end_user_mcp_access_defined require_key_mcp_access_defined
        scheduled_job_stagger scope_spend_list_endpoints_to_caller search_tools service_account_settings
        skip_batch_input_file_rate_limiting_for_models skip_batch_input_file_rate_limiting_for_providers
        spend_report_frequency sse_keepalive_ping_interval_seconds store_model_in_db store_prompts_in_spend_logs
        supported_db_objects token_rate_limit_type trusted_proxy_ranges ui_access_mode ui_settings
        use_client_credentials_pass_through_routes use_redis_transaction_buffer use_shared_health_check
        use_spend_logs_partitioning use_x_forwarded_for user_api_key_cache_max_size user_api_key_cache_ttl
        user_header_mappings user_header_name user_mcp_management_mode user_url_allowed_hosts user_url_validation
        """
    ),
)

# -- guardrails --------------------------------------------------------------------------------------------------------

GUARDRAIL = Section(
    ignored=_words("guardrail_id guardrail_info created_at updated_at description"),
)

# -- router_settings ---------------------------------------------------------------------------------------------------

ROUTER = Section(
    refused={
        "guardrail_list": "use the top-level list `guardrails`",
        "provider_budget_config": "budgets are not supported",
    },
    warned={
        "enable_tag_filtering": "requests are not routed by tags",
        "default_max_parallel_requests": "set max_parallel_requests in each entry",
        "default_litellm_params": "write the settings into each entry",
    },
    ignored=_words(
        """
        alerting_config allow_client_keepalive_override allowed_fails_policy assistants_config
        auto_router_capability_limit background_health_check_model_groups cache_kwargs cache_responses caching_groups
        client_ttl content_policy_fallbacks context_window_fallbacks debug_level default_priority
        deployment_affinity_ttl_seconds disable_cooldowns enable_health_check_routing enable_pre_call_check
        enable_pre_call_checks enable_weighted_failover fallback_access_check fallback_budget_check
        health_check_ignore_transient_errors health_check_staleness_threshold heuristic_v2_router_limit
        ignore_invalid_deployments keepalive_seconds max_retries model_group_affinity_config model_group_retry_policy
        optional_pre_call_checks plugins polling_interval redis_db redis_host redis_password redis_port redis_url
        router_general_settings routing_groups routing_strategy_args search_tools set_verbose stream_idle_timeout
        tag_filtering_match_any tag_routing_prefix ttft_timeout weights
        """
    ),
)

# -- litellm_settings --------------------------------------------------------------------------------------------------

#: Settings that mean the same as one of `router_settings`, which has precedence.
SETTING_ALIASES: Mapping[str, str] = {"request_timeout": "timeout"}
LITELLM = Section(
    refused={
        "guardrails": "use the top-level list `guardrails`",
        "guardrail_name_config_map": "use the top-level list `guardrails`",
        "banned_keywords_list": "use a guardrail of kind blocked_words",
        "blocked_user_list": "blocked users are not supported",
        "llamaguard_model_name": "this guardrail is not supported",
        "max_budget": "budgets are not supported",
        "max_user_budget": "budgets are not supported",
        "max_end_user_budget": "budgets are not supported",
        "default_end_user_budget_id": "budgets are not supported",
        "max_end_user_budget_id": "budgets are not supported",
    },
    warned={
        "ssl_verify": "certificates are verified against the system's authorities",
        "overwrite_user_with_key_hash": "`user` is passed on as callers send it",
        "default_team_settings": "teams and their callbacks are not supported",
    },
    ignored=_words(
        """
        LITELLM_DISABLE_STOP_SEQUENCE_LIMIT add_function_to_prompt alerting allowed_fails_policy api_base api_key
        budget_duration budget_reset_time cache cache_params content_policy_fallbacks context_window_fallbacks
        cost_discount_config cost_margin_config default_internal_user_params default_key_generate_params
        default_team_params disable_add_transform_inline_image_block disable_aiohttp_transport
        disable_copilot_system_to_assistant disable_end_user_cost_tracking
        disable_end_user_cost_tracking_prometheus_only disable_hf_tokenizer_download disable_stop_sequence_limit
        drop_params enable_caching_on_provider_specific_optional_params enable_end_user_cost_tracking_prometheus_only
        enable_json_schema_validation enable_key_alias_format_validation enable_preview_features enable_redis_auth_cache
        force_ipv4 http2 json_logs key_generation_settings langfuse_default_tags langfuse_enable_update_trace_keys
        default_max_internal_user_budget log_raw_request_response max_internal_user_budget max_ui_session_budget
        mcp_aliases modify_params num_workers prometheus_initialize_budget_metrics prometheus_metrics_config
        public_agent_groups public_model_groups redact_messages_in_exceptions redact_user_api_key_info
        request_correlation_in_logs require_auth_for_metrics_endpoint require_managed_files return_response_headers
        route_all_chat_openai_to_responses set_verbose skip_system_message_in_guardrail
        skip_tool_message_in_guardrail store_audit_logs stream_chunk_size suppress_debug_info tag_budget_config
        telemetry turn_off_message_logging upperbound_key_generate_params
        use_chat_completions_url_for_anthropic_messages user_url_allowed_hosts user_url_validation
        """
    ),
)
