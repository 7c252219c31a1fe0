"""What the world sees: the load balancer, the CDN for static files, and the name that moves to the standby region."""

from __future__ import annotations

from dataclasses import dataclass

import ros_cdk_alb as alb
import ros_cdk_cdn as cdn
import ros_cdk_core as core
import ros_cdk_dns as dns

from stack.network import Network, text
from stack.parameters import Choices

# As configs/deploy/nginx/security_headers.conf; the nginx of other installations is not in this path.
HEADERS = {
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
FOR_OPERATORS = ("/metrics", "/docs", "/schema", "/livez", "/readyz", "/healthz", "/openapi.json", "/redoc")
STATIC = ("/assets/*", "/public/*")


@dataclass(frozen=True)
class Edge:
    """The balancer, and the server groups that nodes join."""

    balancer: str
    address: str
    api: str
    chat: str


def build_edge(stack: core.Stack, choices: Choices, network: Network, project: str, log: str) -> Edge:
    """The load balancer with its one listener, 443."""
    api = _servers(stack, choices, network, "Api", sticky=False)
    chat = _servers(stack, choices, network, "Chat", sticky=True)
    types = alb.RosLoadBalancer
    balancer = alb.LoadBalancer(stack, "Balancer", alb.LoadBalancerProps(
        load_balancer_name="banksight", address_type="Internet", address_allocated_mode="Fixed",
        load_balancer_edition="StandardWithWaf", vpc_id=network.vpc, security_group_ids=[network.balancer_group],
        load_balancer_billing_config=types.LoadBalancerBillingConfigProperty(pay_type="PostPay"),
        zone_mappings=[
            types.ZoneMappingsProperty(v_switch_id=switch, zone_id=zone)
            for switch, zone in zip(network.edge, (choices.zone_a, choices.zone_b), strict=True)
        ],
        access_log_config=types.AccessLogConfigProperty(enable=True, log_project=project, log_store=log),
        deletion_protection_enabled=True,
    ))  # fmt: skip
    balancer_id = text(balancer.attr_load_balancer_id)
    _listener(stack, choices, balancer_id, api, chat)
    return Edge(balancer_id, text(balancer.attr_dns_name), api, chat)


def _servers(stack: core.Stack, choices: Choices, network: Network, name: str, *, sticky: bool) -> str:
    types = alb.RosServerGroup
    group = alb.ServerGroup(stack, f"{name}Servers", alb.ServerGroupProps(
        server_group_name=f"banksight-{name.lower()}", protocol="HTTP", scheduler="Wlc", vpc_id=network.vpc,
        cross_zone_enabled=True,
        # Chat needs the API of its own node, so both ask there. Two misses, 2 s apart: a dead node is out after 4 to 6.
        health_check_config=types.HealthCheckConfigProperty(
            health_check_enabled=True, health_check_path="/readyz", health_check_connect_port=3000,
            health_check_host=choices.api_host,  # the API refuses requests by other names: server.allowed_hosts
            health_check_protocol="HTTP", health_check_method="GET", health_check_codes=["http_2xx"],
            health_check_interval=2, health_check_timeout=2, healthy_threshold=2, unhealthy_threshold=2,
        ),
        # As long as a node drains: server.drain_seconds is 25.
        connection_drain_config=types.ConnectionDrainConfigProperty(
            connection_drain_enabled=True, connection_drain_timeout=30
        ),
        sticky_session_config=types.StickySessionConfigProperty(
            sticky_session_enabled=True, sticky_session_type="Insert", cookie_timeout=28800
        ) if sticky else None,
    ))  # fmt: skip
    return text(group.attr_server_group_id)


def _listener(stack: core.Stack, choices: Choices, balancer: str, api: str, chat: str) -> None:
    policy = alb.SecurityPolicy(stack, "OnlyTls13", alb.SecurityPolicyProps(
        security_policy_name="banksight-tls13", tls_versions=["TLSv1.3"],
        ciphers=["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"],
    ))  # fmt: skip
    types = alb.RosListener
    listener = alb.Listener(stack, "Https", alb.ListenerProps(
        load_balancer_id=balancer, listener_port=443, listener_protocol="HTTPS", http2_enabled=True,
        certificates=[types.CertificatesProperty(certificate_id=choices.certificate)],
        security_policy_id=text(policy.attr_security_policy_id),
        gzip_enabled=False,  # it would hold back events of a stream until there is enough to compress
        request_timeout=60,  # silence of a node; streams have a heartbeat every second, answers end after 30 s
        idle_timeout=75,  # longer than the 25 s between two pings of the chat's socket
        x_forwarded_for_config=types.XForwardedForConfigProperty(
            x_forwarded_for_enabled=True, x_forwarded_for_proto_enabled=True, x_forwarded_for_host_enabled=True,
            x_forwarded_for_processing_mode="remove",  # what a caller claims is thrown away
        ),
        default_actions=[types.DefaultActionsProperty(
            type="ForwardGroup", forward_group_config=types.ForwardGroupConfigProperty(
                server_group_tuples=[types.ServerGroupTuplesProperty(server_group_id=chat)]
            ),
        )],
    ))  # fmt: skip
    listener_id = text(listener.attr_listener_id)
    rule = alb.RosRule
    missing = rule.FixedResponseConfigProperty(http_code="404", content_type="text/plain", content="Not found")
    hidden = rule.RuleActionsProperty(order=1, type="FixedResponse", fixed_response_config=missing)
    for index in range(0, len(FOR_OPERATORS), 4):  # a condition takes few values
        paths = [path + ending for path in FOR_OPERATORS[index : index + 4] for ending in ("", "/*")]
        _rule(stack, listener_id, f"OperatorsOnly{index // 4 + 1}", 1 + index // 4, [hidden], paths=paths)
    redirect = rule.RuleActionsProperty(order=1, type="Redirect", redirect_config=rule.RedirectConfigProperty(
        host=choices.static_host, http_code=302, protocol="HTTPS", port="443"
    ))  # fmt: skip
    _rule(stack, listener_id, "StaticFiles", 8, [redirect], paths=list(STATIC), host=choices.chat_host).add_condition(
        choices.has_cdn
    )
    to_api = rule.ForwardGroupConfigProperty(server_group_tuples=[rule.ServerGroupTuplesProperty(server_group_id=api)])
    forward = rule.RuleActionsProperty(order=1, type="ForwardGroup", forward_group_config=to_api)
    _rule(stack, listener_id, "ApiByName", 10, [forward], host=choices.api_host)
    insert = [
        rule.RuleActionsProperty(order=order, type="InsertHeader", insert_header_config=rule.InsertHeaderConfigProperty(
            key=key, value=value, value_type="UserDefined"
        ))
        for order, (key, value) in enumerate(HEADERS.items(), 1)
    ]  # fmt: skip
    _rule(stack, listener_id, "SecurityHeaders", 20, insert, paths=["/*"], direction="Response")


def _rule(
    stack: core.Stack,
    listener: str,
    name: str,
    priority: int,
    actions: list[alb.RosRule.RuleActionsProperty],
    *,
    paths: list[str] | None = None,
    host: str | None = None,
    direction: str = "Request",
) -> alb.Rule:
    types = alb.RosRule
    conditions = []
    if paths:
        conditions.append(types.RuleConditionsProperty(type="Path", path_config=types.PathConfigProperty(values=paths)))
    if host:
        conditions.append(
            types.RuleConditionsProperty(type="Host", host_config=types.HostConfigProperty(values=[host]))
        )
    return alb.Rule(stack, name, alb.RuleProps(
        listener_id=listener, priority=priority, rule_name=f"banksight-{name.lower()}", rule_conditions=conditions,
        rule_actions=actions, direction=direction,
    ))  # fmt: skip


def build_cdn(stack: core.Stack, choices: Choices, edge: Edge) -> None:
    """Static files of the chat from the CDN, where `StaticHost` is set. It fetches them from the balancer."""
    domain = cdn.Domain(stack, "StaticFilesCdn", cdn.DomainProps(
        cdn_type="web", domain_name=choices.static_host, scope="global",
        origin_servers=[cdn.RosDomain.OriginServersProperty(
            content=edge.address, type="domain", port=443, priority="20"
        )],
    ))  # fmt: skip
    domain.add_condition(choices.has_cdn)

    def function(name: str, **arguments: str) -> cdn.RosDomainConfig.FunctionListProperty:
        return cdn.RosDomainConfig.FunctionListProperty(function_name=name, function_args=[
            cdn.RosDomainConfig.FunctionArgsProperty(arg_name=key, arg_value=value) for key, value in arguments.items()
        ])  # fmt: skip

    config = cdn.DomainConfig(stack, "StaticFilesCdnRules", cdn.DomainConfigProps(
        domain_names=text(domain.attr_domain_name), function_list=[
            function("forward_scheme", enable="on", scheme_origin="https", scheme_origin_port="443"),
            # A name of its own: with the chat's, the balancer would send the CDN back to the CDN.
            function("set_req_host_header", domain_name=choices.static_host),
            function("path_based_ttl_set", path="/assets/", ttl="2592000", weight="99"),
            function("path_based_ttl_set", path="/public/", ttl="3600", weight="90"),
            function("https_force", enable="on"),
            function("set_resp_header", key="Access-Control-Allow-Origin", value=f"https://{choices.chat_host}"),
        ],
    ))  # fmt: skip
    config.add_condition(choices.has_cdn)


def build_failover(stack: core.Stack, choices: Choices, edge: Edge) -> None:
    """The name's addresses: ours while /health answers from outside, else the standby's. Only in the primary region."""
    check = {"port": 443, "path": "/health", "code": 400, "failureRate": 50, "sni": True, "nodeType": "IPV4"}

    def pool(name: str, address: str) -> str:
        made = dns.AddressPool(stack, name, dns.AddressPoolProps(
            instance_id=choices.gtm_instance, name=f"banksight-{name.lower()}", type="DOMAIN", lba_strategy="ALL_RR",
            monitor_status="OPEN", protocol_type="HTTPS", interval=60, evaluation_count=2, timeout=5000,
            monitor_extend_info=check, addr=[dns.RosAddressPool.AddrProperty(
                addr=address, mode="SMART", attribute_info={"lineCodes": ["default"], "lineName": "default"}
            )],
            isp_city_node=[dns.RosAddressPool.IspCityNodeProperty(city_code="503", isp_code="465")],
        ))  # fmt: skip
        made.add_condition(choices.has_failover)
        return text(made.attr_addr_pool_id)

    strategy = dns.RosAccessStrategy
    made = dns.AccessStrategy(stack, "Failover", dns.AccessStrategyProps(
        instance_id=choices.gtm_instance, strategy_name="banksight", strategy_mode="GEO", lines=["default"],
        access_mode="AUTO",
        default_addr_pool_type="DOMAIN", default_min_available_addr_num=1, default_lba_strategy="ALL_RR",
        default_addr_pool=[strategy.DefaultAddrPoolProperty(identity=pool("PrimaryPool", edge.address))],
        failover_addr_pool_type="DOMAIN", failover_min_available_addr_num=1, failover_lba_strategy="ALL_RR",
        failover_addr_pool=[strategy.FailoverAddrPoolProperty(identity=pool("StandbyPool", choices.standby_address))],
    ))  # fmt: skip
    made.add_condition(choices.has_failover)
