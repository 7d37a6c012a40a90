;; Does nothing and says so.
;; kind: reporter
;; expect: answers
