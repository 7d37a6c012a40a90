;; Wants the host's answer at an odd address.
;; kind: reporter
;; expect: ends not aligned
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $report.to-json (local.get 2) (i32.const 257)) (call $done))
