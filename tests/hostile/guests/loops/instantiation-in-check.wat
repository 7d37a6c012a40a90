;; The same while a configuration is loaded.
;; kind: reporter
;; call: check
;; expect: ends it ran for more than 300 ms
(func $begin (loop $again (br $again)))
(start $begin)
