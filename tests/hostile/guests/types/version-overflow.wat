;; Made for a version whose numbers are larger than numbers are.
;; expect: refused
(component (import "capstan:plugin/log@99999999999999999999.0.0" (instance)))
