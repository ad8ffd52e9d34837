"""AuthZEN 1.0 (OpenID Authorization API): gateways that know nothing of Permeter ask whether something is allowed."""
