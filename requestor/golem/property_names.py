"""Lists the names of Golem's properties in demands, offers and agreements, and of the counters that are paid for.

Golem's specification: https://github.com/golemfactory/golem-architecture/tree/master/standards. Only names that this
program reads or sets in several places stand here.
"""

from __future__ import annotations

# the node
NODE_NAME = "golem.node.id.name"
SUBNET = "golem.node.debug.subnet"

# the offered machine, the requested task
RUNTIME = "golem.runtime.name"
THREADS = "golem.inf.cpu.threads"
MEMORY = "golem.inf.mem.gib"
TASK_PACKAGE = "golem.srv.comp.task_package"
PACKAGE_FORMAT = "golem.srv.comp.vm.package_format"
MULTI_ACTIVITY = "golem.srv.caps.multi-activity"
EXPIRATION = "golem.srv.comp.expiration"  # milliseconds since 1970
RUN_MARK = "nima-golem.run"  # of this program: marks the demands of one run

# prices and payment; the question mark is part of three of these names
PRICING_MODEL = "golem.com.pricing.model"
PRICES = "golem.com.pricing.model.linear.coeffs"  # GLM: a price per counter of the usage vector, then the start price
USAGE_VECTOR = "golem.com.usage.vector"  # the names of the counters that are paid for
CHOSEN_PLATFORM = "golem.com.payment.chosen-platform"
ACCEPT_TIMEOUT = "golem.com.payment.debit-notes.accept-timeout?"
DEBIT_NOTE_INTERVAL = "golem.com.scheme.payu.debit-note.interval-sec?"
PAYMENT_TIMEOUT = "golem.com.scheme.payu.payment-timeout-sec?"

# counters, in seconds
CPU = "golem.usage.cpu_sec"
DURATION = "golem.usage.duration_sec"
