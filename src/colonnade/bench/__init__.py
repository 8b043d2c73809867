"""Load on an open loop, measured from outside, and reports that can be compared.

trace file -> trace.parse -> arrivals.schedule -> prompts.Prompts -> load.run -> report.build -> compare
              (pure)         (pure)               (pure)             (I/O)      (pure)          (pure)
"""
