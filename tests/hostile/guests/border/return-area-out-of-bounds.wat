;; Wants the host's answer behind its memory.
;; kind: reporter
;; expect: ends out of bounds
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $report.to-json (local.get 2) (i32.const 131068)) (call $done))
