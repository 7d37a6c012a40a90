;; Recursion without end in the start function.
;; kind: reporter
;; expect: ends its stack overflowed
(func $down (call $down) (call $down))
(start $down)
