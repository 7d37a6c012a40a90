;; A reporter that wants to keep the report that it is lent.
;; kind: reporter
;; wit: deliver: func(config: json, report: borrow<report>) => deliver: func(config: json, report: report)
;; expect: refused the parameter `report` is lent, not given
