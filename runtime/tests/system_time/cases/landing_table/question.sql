SELECT * FROM cdc_bronze.br_customer_cdc FOR SYSTEM_TIME ALL
